"""Answering DataFrames: what every registered model does with good rows and with bad ones.

This module and what it imports travel inside a registered model; it knows neither MLflow nor params.yaml.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import pandas as pd

OnError = Literal["raise", "report"]
Row = dict[str, Any]  # output column → value


class InvalidRows(ValueError):
    """Rows that no answer can be given for; the message lists each with its reason."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to answer: a row, or the rows of one series."""

    name: str  # as errors call it, such as "row 3"
    key: Mapping[str, Any]  # columns that identify it in the answer, such as {"unique_id": "store 1"}
    content: Any


class Predictor(ABC):
    """A trained network that answers DataFrames. A task's subclass says how to read a row and how to answer many.

    The subclass loads its weights in `__init__(folder)`, from the folder that the train stage wrote.
    """

    inputs: ClassVar[Mapping[str, str]]  # column → MLflow type name; "any" for AnyType
    optional: ClassVar[Mapping[str, str]] = {}  # columns that a frame may lack, alike
    outputs: ClassVar[Mapping[str, str]]  # column → MLflow type name; "strings" and "doubles" for arrays
    optional_outputs: ClassVar[Mapping[str, str]] = {}  # alike, columns that only some options ask for
    options: ClassVar[Mapping[str, int | float | str]] = {}  # further params of predict() with their defaults
    unit: ClassVar[str] = "rows"  # what `items` gives, in the plural
    portion: ClassVar[int] = 1024  # items that are read and answered at a time, which bounds the memory
    requirements: ClassVar[Sequence[str]]  # PyPI names of what `serve.py` needs, beside torch, numpy and pandas

    @abstractmethod
    def __init__(self, folder: Path) -> None: ...

    @classmethod
    def further_inputs(cls, folder: Path) -> dict[str, str]:
        """Column → MLflow type name, of what the model trained in `folder` needs beside `inputs`: what its own data
        has, and not the task.
        """
        return {}

    @abstractmethod
    def read(self, item: Item) -> Any:
        """Check one item and turn it into what `answer` takes. Raises ValueError: what was found, what is allowed."""

    def read_all(self, items: Sequence[Item]) -> list[Any]:
        """What `read` gives for each item, or its ValueError; for subclasses that read many at once faster."""
        found: list[Any] = []
        for item in items:
            try:
                found.append(self.read(item))
            except ValueError as error:
                found.append(error)
        return found

    @abstractmethod
    def answer(self, examples: Sequence[Any], options: Mapping[str, Any]) -> list[list[Row]]:
        """The output rows of each example, in the examples' order; batched inside as the network likes it."""

    def asked_for(self, options: Mapping[str, Any]) -> Sequence[str]:
        """Which of `optional_outputs` these options ask for, all of them given."""
        return ()

    def items(self, frame: pd.DataFrame) -> list[Item]:
        """What there is to answer in a frame; a row each, unless the subclass groups rows."""
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
        chosen = {**self.options, **options}
        items = self.items(frame)
        reasons: list[str] = []
        rows: list[Row] = []
        for start in range(0, len(items), self.portion):
            some = items[start : start + self.portion]
            read = self.read_all(some)
            pairs = list(zip(some, read, strict=True))
            reasons += [f"{item.name}: {found}" for item, found in pairs if isinstance(found, ValueError)]
            if reasons and on_error == "raise":
                continue  # what is left is only read, so that every bad row is named
            examples = [found for found in read if not isinstance(found, ValueError)]
            answers = iter(self.answer(examples, chosen) if examples else [])
            for item, found in pairs:
                bad = isinstance(found, ValueError)
                rows.extend([{**item.key, "error": str(found)}] if bad else next(answers))
        if reasons and on_error == "raise":
            lines = "\n".join(reasons)
            raise InvalidRows(f"{len(reasons)} of {len(items)} {self.unit} cannot be answered:\n{lines}")
        columns = [*self.outputs, *self.asked_for(chosen), *(["error"] if on_error == "report" else [])]
        return pd.DataFrame(rows, columns=columns)
