"""The base of every registered model: DataFrames in, DataFrames out, good rows and bad ones.

This module and what it imports travel inside a registered model; it knows neither MLflow nor params.yaml.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd

from .threads import threads

OnError = Literal["raise", "report"]
Row = dict[str, Any]  # output column → value

_log = logging.getLogger(__name__)
_SHOWN = 100  # characters of a value that an error names
_LONGEST_ERROR = 1000  # characters of what is said of one item


class InvalidRows(ValueError):
    """Rows that no answer can be given for; the message lists each with its reason."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to answer: a row, or the rows of one series."""

    name: str  # as errors call it, such as "row 3"
    key: Mapping[str, Any]  # columns that identify it in the answer, such as {"unique_id": "store 1"}
    content: Any


def shown(value: object) -> str:
    """A value as an error names it: what Python would write, cut after 100 characters; its type where that fails."""
    try:
        text = repr(value[:_SHOWN] if isinstance(value, str | bytes) and len(value) > _SHOWN else value)
    except Exception:  # such as a whole number of thousands of digits
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= 2 * _SHOWN else f"{text[:_SHOWN]}…"


def as_number(value: Any) -> Any:
    """A number, as it stands in a column of numpy or pandas; None for what is none.

    One complex number makes all of its column complex: those without an imaginary part are what they were. numpy counts
    spans of time among its integers.
    """
    if isinstance(value, complex | np.complexfloating) and value.imag == 0:
        value = value.real
    known = isinstance(value, int | float | np.integer | np.floating)
    return value if known and not isinstance(value, bool | np.timedelta64) else None


def _text(error: ValueError) -> str:
    text = str(error).encode("utf-8", "backslashreplace").decode()  # no column of strings holds half a surrogate
    return text if len(text) <= _LONGEST_ERROR else f"{text[:_LONGEST_ERROR]}…"


def as_flag(name: str, value: object) -> bool:
    """The value of an option that is on or off. Raises ValueError for any other."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise ValueError(f"{name}: found {shown(value)}; allowed: true, false")


class Predictor(ABC):
    """A trained network that answers DataFrames. A task's subclass says how to read a row and how to predict a batch.

    The subclass loads its weights in `__init__(folder)`, from the folder that the train stage wrote.
    """

    inputs: ClassVar[Mapping[str, str]]  # column → MLflow type name; "any" for AnyType
    optional_inputs: ClassVar[Mapping[str, str]] = {}  # columns that a frame may lack
    # Column → MLflow type name; "strings" and "doubles" for lists, "lists of strings" and "lists of doubles" for lists
    # of these.
    outputs: ClassVar[Mapping[str, str]]
    optional_outputs: ClassVar[Mapping[str, str]] = {}  # columns that only some options ask for
    options: ClassVar[Mapping[str, bool | int | float | str]] = {}  # further params of predict() with their defaults
    unit: ClassVar[str] = "rows"  # what an item is, in the plural
    chunk_size: ClassVar[int] = 1024  # items that are read and predicted at a time, which bounds the memory
    few: int = 64  # items that a single thread answers
    requirements: ClassVar[Sequence[str]]  # PyPI names of what the subclass needs, beside torch, numpy and pandas

    @abstractmethod
    def __init__(self, folder: Path) -> None: ...

    @classmethod
    def extra_inputs(cls, folder: Path) -> dict[str, str]:
        """Column → MLflow type name of what the model trained in `folder` needs beside `inputs`, because its own data
        has it.
        """
        return {}

    @classmethod
    def unavailable(cls, folder: Path) -> frozenset[str]:
        """The options and optional outputs that the model trained in `folder` lacks: its signature leaves them out."""
        return frozenset()

    @abstractmethod
    def read(self, item: Item) -> Any:
        """Check one item and turn it into an example. Raises ValueError: what was found, what is allowed."""

    def read_batch(self, items: Sequence[Item]) -> list[Any]:
        """What `read` gives for each item, or its ValueError; for subclasses that read many at once faster."""
        return [self._read_one(item) for item in items]

    def _read_one(self, item: Item) -> Any:
        try:
            return self.read(item)
        except ValueError as error:
            return error
        except Exception as error:  # what no reader has thought of is the fault of that row and not of all
            _log.exception("a row cannot be read")
            return ValueError(f"cannot be read ({type(error).__name__})")

    def _read_all(self, items: Sequence[Item]) -> list[Any]:
        try:
            return self.read_batch(items)
        except Exception:  # one of them, so each by itself
            return [self._read_one(item) for item in items]

    @abstractmethod
    def predict_batch(self, examples: Sequence[Any], options: Mapping[str, Any]) -> list[list[Row]]:
        """The output rows of each example, in the examples' order; the subclass chooses the network's batches."""

    def requested_outputs(self, options: Mapping[str, Any]) -> Sequence[str]:
        """Which of `optional_outputs` the options, all of them given, ask for. Raises ValueError for a bad option."""
        return ()

    def to_items(self, frame: pd.DataFrame) -> list[Item]:
        """The items of a frame: a row each, unless the subclass groups rows."""
        columns = [str(c) for c in frame.columns]
        rows = frame.itertuples(index=False, name=None)
        return [Item(f"row {i}", {}, dict(zip(columns, row, strict=True))) for i, row in enumerate(rows)]

    def predict(self, frame: pd.DataFrame, *, on_error: OnError = "raise", **options: Any) -> pd.DataFrame:
        """Answer a frame, in its order.

        With `on_error="raise"`, bad rows raise one InvalidRows that lists them all. With `"report"` they get nulls
        and a text in the extra column `error`, and the other rows their usual answer.
        """
        if on_error not in ("raise", "report"):
            raise ValueError(f"on_error: found {on_error!r}; allowed: 'raise', 'report'")
        unknown = options.keys() - self.options.keys()
        if unknown:
            raise ValueError(f"unknown params {sorted(unknown)}; allowed: on_error, {', '.join(self.options)}")
        missing = [c for c in self.inputs if c not in frame.columns]
        if missing:
            raise ValueError(f"columns missing: {missing}; found {list(map(str, frame.columns))}")
        if twice := sorted({str(c) for c in frame.columns[frame.columns.duplicated()]}):
            raise ValueError(f"duplicate columns: {twice}; allowed: each column once")
        options = {**self.options, **options}
        requested = self.requested_outputs(options)
        items = self.to_items(frame)
        with threads(few=len(items) <= self.few):
            rows, errors = self._answer(items, on_error, options)
        if errors and on_error == "raise":
            lines = "\n".join(errors)
            raise InvalidRows(f"{len(errors)} of {len(items)} {self.unit} cannot be answered:\n{lines}")
        columns = [*self.outputs, *requested, *(["error"] if on_error == "report" else [])]
        return pd.DataFrame(rows, columns=columns)

    def _answer(
        self, items: Sequence[Item], on_error: OnError, options: Mapping[str, Any]
    ) -> tuple[list[Row], list[str]]:
        """The rows of the answer, and what is wrong with each bad item. With `on_error="raise"`, items are only read
        after the first bad one, so that every other is named.
        """
        errors: list[str] = []
        rows: list[Row] = []
        for start in range(0, len(items), self.chunk_size):
            chunk = items[start : start + self.chunk_size]
            examples = self._read_all(chunk)
            pairs = list(zip(chunk, examples, strict=True))
            errors += [f"{item.name}: {_text(example)}" for item, example in pairs if isinstance(example, ValueError)]
            if errors and on_error == "raise":
                continue
            valid = [example for example in examples if not isinstance(example, ValueError)]
            predicted = iter(self.predict_batch(valid, options) if valid else [])
            for item, example in pairs:
                bad = isinstance(example, ValueError)
                rows.extend([{**item.key, "error": _text(example)}] if bad else next(predicted))
        return rows, errors
