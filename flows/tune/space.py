"""The params that a search varies, and their values: one line for each param.

forecast.train.learning_rate=log(1e-4, 1e-1)     numbers, evenly in their logarithm
forecast.model.dropout=uniform(0, 0.5)           numbers, evenly
forecast.model.layers=int(1, 4)                  whole numbers, both ends included
forecast.model.hidden_size=log_int(8, 256)       whole numbers, evenly in their logarithm
sketch.model.units=[32, 64, 128]                 one of these, whatever they are
"""

from __future__ import annotations

import copy
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from stages.params import RENAMED, describe
from stages.params_yaml import ParamsError, parse
from stages.tasks.protocol import Task

if TYPE_CHECKING:
    from optuna.trial import Trial

FORMS = "[a, b, …], int(low, high), log_int(low, high), uniform(low, high), log(low, high)"
Kind = Literal["choice", "int", "log_int", "uniform", "log"]

_RANGE = re.compile(r"(int|log_int|uniform|log)\((.*)\)", re.DOTALL)
_DIGITS = 6  # of a drawn number: what stands in params.yaml shall be readable


class SearchError(ValueError):
    """A search cannot be done as asked; the message says what was found and what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """One param and its values: `choices`, or all from `low` to `high`."""

    key: str  # as forecast.train.learning_rate
    kind: Kind
    choices: tuple[Any, ...] = ()
    low: float = 0
    high: float = 0

    def ends(self) -> tuple[Any, ...]:
        """The values that must be allowed for all to be: the lowest and the highest, or each choice."""
        return self.choices or (self.low, self.high)

    def suggest(self, trial: Trial) -> Any:
        """A value for this trial, drawn by the study's sampler, or the one it has already."""
        match self.kind:
            case "choice":  # as texts: Optuna stores no lists
                return json.loads(trial.suggest_categorical(self.key, [_text(choice) for choice in self.choices]))
            case "int" | "log_int":
                return trial.suggest_int(self.key, int(self.low), int(self.high), log=self.kind == "log_int")
            case _:
                drawn = trial.suggest_float(self.key, self.low, self.high, log=self.kind == "log")
                return min(max(float(f"{drawn:.{_DIGITS}g}"), self.low), self.high)

    def points(self) -> tuple[Any, ...]:
        """All values, as Optuna stores them. Raises SearchError for numbers that are not whole."""
        if self.kind == "choice":
            return tuple(_text(choice) for choice in self.choices)
        if self.kind == "int":
            return tuple(range(int(self.low), int(self.high) + 1))
        raise SearchError(
            f"search: {self.key}: found {self.kind}(…) with the method grid; allowed: [a, b, …], int(low, high)"
        )


def dimension(text: str) -> Dimension:
    """One line of a search. Raises SearchError."""
    key, separator, values = (part.strip() for part in text.partition("="))
    if not separator or len(key.split(".")) < 3:
        raise SearchError(
            f"search: found {text!r}; allowed: TASK.BLOCK.KEY=VALUES, "
            "such as forecast.train.learning_rate=log(1e-4, 1e-1)"
        )
    try:
        match = _RANGE.fullmatch(values)
        parsed = parse(f"[{match[2]}]" if match else values)
    except ParamsError:
        parsed = None
    if not isinstance(parsed, list):
        raise SearchError(f"search: {key}: found {values!r}; allowed: {FORMS}")
    return _range(key, match[1], parsed, values) if match else _choice(key, parsed, values)


def space(search: Sequence[str]) -> tuple[Dimension, ...]:
    """All lines of a search. Raises SearchError, also for a param that stands twice."""
    dimensions = tuple(dimension(text) for text in search)
    keys = [one.key for one in dimensions]
    for key in keys:
        if keys.count(key) > 1:
            raise SearchError(f"search: found {key} twice; allowed: once")
    return dimensions


def grid(dimensions: Sequence[Dimension]) -> list[dict[str, Any]]:
    """Every combination, as Optuna stores it; the last dimension varies fastest. Raises SearchError."""
    keys = [one.key for one in dimensions]
    return [dict(zip(keys, point, strict=True)) for point in itertools.product(*(one.points() for one in dimensions))]


def assignment(key: str, value: Any) -> str:
    """A value of a param as `stages.recipe.override` reads it."""
    return f"{key}={_text(value)}"


def check(dimensions: Sequence[Dimension], params: Mapping[str, Any], read: Sequence[str]) -> None:
    """See that every param stands in `params`, decides the training, and may have its ends for a value.

    `params` is params.yaml as it is, and `read` are the keys that the training and the stages before it read. A
    combination may still be refused, where a rule joins several params. Raises SearchError and ParamsError.
    """
    for one in dimensions:
        if not any(is_below(one.key, key) for key in read):
            raise SearchError(f"search: {one.key}: the training does not read this param; allowed: {', '.join(read)}")
        if one.key.endswith(".train.monitor"):
            raise SearchError(
                f"search: {one.key}: it decides how trials are compared; set it as an override for all trials"
            )
        for value in one.ends():
            _check_value(one.key, value, params)


def is_below(key: str, other: str) -> bool:
    """Whether a param is another one or stands below it, as forecast.train.epochs below forecast.train."""
    return f"{key}.".startswith(f"{other}.")


def _check_value(key: str, value: Any, params: Mapping[str, Any]) -> None:
    task, *path = key.split(".")
    block = copy.deepcopy(params[task])
    target = block
    for name in path[:-1]:
        target = target.get(name) if isinstance(target, dict) else None
    if not isinstance(target, dict) or path[-1] not in target:
        known = f"; allowed: {', '.join(target)}" if isinstance(target, dict) else ""
        if new := RENAMED.get(".".join(path)):
            known = f"; renamed to {task}.{new}"
        raise SearchError(f"search: {key}: no such param in params.yaml{known}")
    target[path[-1]] = value
    try:
        Task(task).params_type().model_validate(block)
    except ValidationError as error:
        raise ParamsError("search: " + "; ".join(describe(error, task))) from None


def _choice(key: str, values: list[Any], text: str) -> Dimension:
    texts = [_text(value) for value in values]
    if not texts or len(set(texts)) < len(texts):
        raise SearchError(f"search: {key}: found {text}; allowed: one or more values, each once")
    return Dimension(key=key, kind="choice", choices=tuple(values))


def _range(key: str, kind: str, ends: list[Any], text: str) -> Dimension:
    whole = kind in ("int", "log_int")
    numbers = [end for end in ends if type(end) is int or (type(end) is float and not whole)]
    if len(ends) != 2 or len(numbers) != 2 or not numbers[0] < numbers[1]:
        kinds = "whole numbers" if whole else "numbers"
        raise SearchError(f"search: {key}: found {text}; allowed: two {kinds}, the lower one first")
    if kind in ("log", "log_int") and numbers[0] <= 0:
        raise SearchError(f"search: {key}: found {text}; allowed: numbers above 0, which have a logarithm")
    low, high = numbers if whole else map(float, numbers)
    return Dimension(key=key, kind=kind, low=low, high=high)  # type: ignore[arg-type]


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
