"""params.yaml, checked once and turned into frozen objects.

Every key must be in params.yaml: a schema here checks a value and never supplies one, so that the file is complete
and a change of a schema changes no result. Each mistake is one line that names the key, the value and what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from .data.text import check_encoding
from .params_yaml import PARAMS_FILE, ParamsError, flatten, read

Fraction = Annotated[float, Field(ge=0, le=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Encoding = Annotated[str, AfterValidator(check_encoding)]
SplitShare = Annotated[float, Field(gt=0, lt=0.5)]  # of the sequences, that go into validation or test

# Old key → new key: the mistake in an old params.yaml or recipe names the new one.
RENAMED = {
    "prepare.group_pattern": "prepare.group",
    "train.accumulate": "train.accumulation_steps",
    "train.average": "train.ema_decay",
    "train.clip_norm": "train.max_grad_norm",
    "train.warmup": "train.warmup_fraction",
    "register.questions": "register.comparison_examples",
}


class Block(BaseModel):
    """A block of params.yaml: frozen, typed, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def heads_divide(kind: str, hidden_size: int, heads: int) -> None:
    """Raise ValueError where the network is a transformer whose attention heads cannot share its hidden size alike."""
    if kind == "transformer" and hidden_size % heads:
        raise ValueError("a hidden_size that is a multiple of heads")


def check_group(group: str, field: str = "", field_words: str = "") -> str:
    """`prepare.group`: empty, a field's name, or a regular expression with one pair of parentheses.

    `field` is a regular expression of the names that the task takes, `field_words` says them; none where it is empty.
    Raises ValueError for anything else.
    """
    if not group or (field and re.fullmatch(field, group)):
        return group
    allowed = f"empty, {field_words}{', ' if field else ''}or a regular expression with one pair of parentheses"
    try:
        pairs = re.compile(group).groups
    except re.error as error:
        raise ValueError(f"{allowed}; this one has an error: {error}") from None
    if pairs != 1:
        raise ValueError(f"{allowed}; this one has {pairs}")
    return group


def check_start(start: str) -> str:
    """`train.start_from`: empty, a registered version by alias or number, or a path. Raises ValueError for others."""
    if start.startswith("models:") and not re.fullmatch(r"models:/[^@/]+(@[^@/]+|/[0-9]+)", start):
        raise ValueError("empty, models:/NAME@ALIAS, models:/NAME/VERSION or a path")
    return start


class AdditionalParams(Block):
    """The keys of a `source` block whose data may grow by corrections: `sources/additional.py`."""

    also: list[Annotated[str, Field(min_length=1)]]
    also_test: bool

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.also)) < len(self.also):
            raise ValueError("each address in also once")
        return self


class TrainParams(Block):
    """How a network is trained: the same keys for every task."""

    mode: Literal["full", "overfit", "smoke"]
    start_from: Annotated[str, AfterValidator(check_start)]
    seed: Count
    ranks: Positive
    threads: Positive
    precision: Literal["float32", "bfloat16", "float16"]
    compile: bool
    epochs: Positive
    batch_size: Positive
    batch_tokens: Count
    accumulation_steps: Positive
    learning_rate: Annotated[float, Field(gt=0, le=10)]
    weight_decay: Annotated[float, Field(ge=0)]
    warmup_fraction: Fraction
    schedule: Literal["cosine", "plateau", "constant"]
    plateau_factor: Annotated[float, Field(gt=0, lt=1)]
    plateau_patience: Positive
    max_grad_norm: Annotated[float, Field(ge=0)]
    clip_value: Annotated[float, Field(ge=0)]
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    patience: Positive
    choose: Literal["best", "last"]
    refit: Literal["none", "all"]
    monitor: Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")]


class EvaluateParams(Block):
    """The keys that every task's `evaluate` block has."""

    ranks: Positive


class PrepareParams(Block):
    """The keys that every task's `prepare` block has."""

    max_rejected_share: Fraction


class RegisterParams(Block):
    """What the registry does with a new version."""

    promotion: Literal["automatic", "approval"]
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    comparison_examples: Positive
    min_examples: Positive
    must_beat: Annotated[list[str], Field(min_length=1)]

    @model_validator(mode="after")
    def _asked_enough(self) -> RegisterParams:
        if self.min_examples > self.comparison_examples:
            raise ValueError(
                f"a min_examples of at most comparison_examples: found {self.min_examples} and "
                f"{self.comparison_examples}"
            )
        return self


class DriftParams(Block):
    """When a change of the input counts: see `monitoring/drift.py`."""

    significance: Annotated[float, Field(gt=0, lt=0.5)]
    warning_effect: Fraction
    drift_effect: Fraction

    @model_validator(mode="after")
    def _ascending(self) -> DriftParams:
        if self.warning_effect > self.drift_effect:
            raise ValueError(
                f"a warning_effect of at most drift_effect: found {self.warning_effect} and {self.drift_effect}"
            )
        return self


class MonitorParams(Block):
    """How a task's data and answers are watched, and what retrains it. Read by `stages.refresh` and the flows, by no
    stage of dvc.yaml.
    """

    rewritten_past: Literal["refuse", "accept"]
    retrain: Literal["on_new_data", "on_drift", "on_alarm", "monthly", "never"]
    pause_days: Count
    drift: DriftParams


class AlarmParams(Block):
    """When the errors of forecasts raise an alarm; `monitoring.control_chart` says what the limits are of."""

    level: Annotated[float, Field(gt=0)]
    spread: Annotated[float, Field(gt=0)]
    weekday: Annotated[float, Field(gt=0)]
    recent_days: Positive
    chance: Annotated[float, Field(gt=0, lt=1)]


class TaskParams(Block):
    """The seven blocks of one task; a task's own `params.py` says what is in `source`, `prepare`, `model` and
    `evaluate`, and which baselines are measured.
    """

    source: Block
    prepare: PrepareParams
    model: Block
    train: TrainParams
    evaluate: EvaluateParams
    register_: RegisterParams = Field(alias="register")
    monitor: MonitorParams

    def baselines(self) -> Mapping[str, str]:
        """The baselines that are measured beside the network: by the name in params, what its metrics call each."""
        raise NotImplementedError

    def notes(self) -> list[str]:
        """What is allowed and hardly meant, a line each; keys without the task's name."""
        return []

    def must_beat(self) -> list[str]:
        """The baselines of `register.must_beat` as their metrics name them."""
        return [self.baselines()[name] for name in self.register_.must_beat]

    @model_validator(mode="after")
    def _measures_what_must_be_beaten(self) -> Self:
        measured = self.baselines()
        if unknown := [name for name in self.register_.must_beat if name not in measured]:
            raise ValueError(
                f"only measured baselines in register.must_beat ({', '.join(measured)}); found {', '.join(unknown)}"
            )
        return self


def load(path: Path = PARAMS_FILE) -> dict[str, TaskParams]:
    """Read and check the whole file; returns the params of each task by its name.

    Raises ParamsError with one line a mistake.
    """
    from .tasks.protocol import Task

    raw = read(path)
    parsed: dict[str, TaskParams] = {}
    allowed = Task.names()
    mistakes = [f"{name}: not a task; allowed: {', '.join(allowed)}" for name in raw if name not in allowed]
    for name in allowed:
        if name not in raw:
            mistakes.append(f"{name}: missing; every task in stages/tasks/ needs a block")
            continue
        owner = Task(name).description().dataset_task
        try:
            parsed[name] = Task(name).params_type().model_validate(_with_data_blocks(raw, name, owner))
        except ParamsError as error:
            mistakes.append(str(error))
        except ValidationError as error:
            # A mistake in the blocks of another task is reported there.
            others = tuple(f"{name}.{block}" for block in _DATA_BLOCKS) if owner != name else ()
            mistakes += [line for line in describe(error, name) if not line.startswith(others)]
        values = flatten(raw[name]) if isinstance(raw[name], Mapping) else {}
        mistakes += [f"{name}.{key}: {_SECRET}" for key, value in values.items() if _has_secret(value)]
    if mistakes:
        raise ParamsError("\n".join(f"{path}: {mistake}" for mistake in mistakes))
    return parsed


_DATA_BLOCKS = ("source", "prepare", "monitor")  # which a task without data of its own takes from `dataset_task`


def _with_data_blocks(raw: Mapping[str, Any], name: str, owner: str) -> Any:
    """A task's blocks, with those of the task whose data it learns from. Raises ParamsError where it has its own."""
    blocks, owners = raw[name], raw.get(owner)
    if owner == name or not isinstance(blocks, Mapping) or not isinstance(owners, Mapping):
        return blocks
    for block in _DATA_BLOCKS:
        if block in blocks:
            raise ParamsError(
                f"{name}.{block}: unknown key; {name} uses the data of {owner}; set it in {owner}.{block}"
            )
    return {**blocks, **{block: owners[block] for block in _DATA_BLOCKS if block in owners}}


def describe(error: ValidationError, prefix: str) -> list[str]:
    """One line a mistake: key, value found, what is allowed."""
    mistakes = [(item["type"], [str(part) for part in item["loc"]], item) for item in error.errors()]
    missing = [path for kind, path, _ in mistakes if kind == "missing"]
    renamed = {RENAMED.get(".".join(path)) for kind, path, _ in mistakes if kind == "extra_forbidden"}
    lines = []
    for kind, path, item in mistakes:
        key, found = ".".join(path), item["input"]
        if kind == "missing":
            if key in renamed:
                continue  # its old name is reported
            reason = "missing; params.yaml must contain every key"
        elif kind == "extra_forbidden" and key in RENAMED:
            reason = f"unknown key; renamed to {RENAMED[key]}"
        elif kind == "extra_forbidden":
            # A mistyped key is missing under its right name.
            similar = get_close_matches(path[-1], [other[-1] for other in missing if other[:-1] == path[:-1]], n=1)
            reason = f"unknown key; found {found!r}" + (f"; did you mean {similar[0]}?" if similar else "")
        else:
            allowed = item["msg"].removeprefix("Value error, ").removeprefix("Input ").removeprefix("should be ")
            reason = f"allowed: {_KINDS.get(kind, allowed)}"
            # A rule between several keys is broken by a whole block, which is too long to show.
            if not (isinstance(found, dict) and kind == "value_error"):
                reason = f"found {'nothing' if found is None else repr(found)}; {reason}"
        lines.append(f"{'.'.join([prefix, *path])}: {reason}")
    return lines


# params.yaml is committed, and dvc.lock, MLflow and Prefect repeat what stands there. The value is not shown.
_SECRET = "holds a password or a signature; allowed: ${NAME} instead, which is read from the environment"
_SIGNING = "|".join(
    [
        *("x-amz-(signature|credential|security-token)", "x-goog-(signature|credential)"),
        *("sig", "sign", "signature", "(client[-_]?)?secret", "([a-z]+[-_])?token", "awsaccesskeyid"),
        "((api|access|auth|subscription)[-_]?)?key",
        *("auth", "authorization", "credentials?", "pass", "passwd", "password", "pwd"),
    ]
)
_SIGNATURES = re.compile(rf"[?&]({_SIGNING})=(?!\$\{{)", re.IGNORECASE)


def _has_secret(value: object) -> bool:
    """Whether a value is an address with a password, or with a query that signs it; or a list with such a one."""
    if isinstance(value, list):
        return any(map(_has_secret, value))
    if not isinstance(value, str) or not re.search(r"://|^\$\{", value):
        return False
    return bool(re.search(r"://[^/?#\s]*:(?!\$\{)[^/?#\s]+@", value) or _SIGNATURES.search(value))


_KINDS = {  # pydantic's name of a mistake → what is allowed, in YAML's words
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
}


if __name__ == "__main__":
    import argparse
    import sys

    argparse.ArgumentParser(prog="python -m stages.params", description=f"Check {PARAMS_FILE}.").parse_args()
    try:
        params = load()
        print(f"{PARAMS_FILE}: valid ({', '.join(params)})")
        for name, block in params.items():
            for note in block.notes():
                print(f"{PARAMS_FILE}: note: {name}.{note}")
    except ParamsError as error:
        sys.exit(str(error))
