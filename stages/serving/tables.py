"""Where answers go: a table on the terminal, CSV, Parquet, a portion at a time."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pandas as pd


Kinds = Mapping[str, str]  # column → MLflow type name, or "list" of one


SUFFIXES = (".csv", ".parquet")


class Writer(Protocol):
    """Where answers go, a portion at a time; all portions have the same columns."""

    def write(self, answers: pd.DataFrame) -> None: ...


@contextmanager
def writer(output: Path | None, kinds: Kinds) -> Iterator[Writer]:
    """Where a table with these columns goes; a file takes its name when the block ends without an error."""
    if output is None:
        yield _Terminal(kinds) if sys.stdout.isatty() else _Csv(sys.stdout, kinds)
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(f".{output.name}.partial")
    try:
        if output.suffix == ".csv":
            with temporary.open("w", newline="", encoding="utf-8") as file:
                yield _Csv(file, kinds)
        else:
            with _parquet(temporary, kinds) as table:
                yield table
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)


class _Csv:
    """Lists as JSON; what is missing as nothing."""

    def __init__(self, file: IO[str], kinds: Kinds) -> None:
        self._file = csv.writer(file, lineterminator="\n")
        self._columns = list(kinds)
        self._file.writerow(self._columns)

    def write(self, answers: pd.DataFrame) -> None:
        for row in _values(answers, self._columns):
            self._file.writerow(json.dumps(v, ensure_ascii=False) if isinstance(v, list) else _text(v) for v in row)


class _Parquet:
    def __init__(self, file: Any, kinds: Kinds) -> None:
        self._file = file
        self._columns = list(kinds)

    def write(self, answers: pd.DataFrame) -> None:
        import pyarrow

        lists = zip(*_values(answers, self._columns), strict=True)
        arrays = [pyarrow.array(v, field.type) for v, field in zip(lists, self._file.schema, strict=True)]
        self._file.write_table(pyarrow.Table.from_arrays(arrays, schema=self._file.schema))


@contextmanager
def _parquet(path: Path, kinds: Kinds) -> Iterator[_Parquet]:
    import pyarrow
    from pyarrow import parquet

    types = {
        "long": pyarrow.int64(),
        "double": pyarrow.float64(),
        "string": pyarrow.string(),
        "datetime": pyarrow.timestamp("us"),
    }
    fields = [
        (name, pyarrow.list_(types[kind.removeprefix("list ")]) if kind.startswith("list ") else types[kind])
        for name, kind in kinds.items()
    ]
    with parquet.ParquetWriter(path, pyarrow.schema(fields)) as file:
        yield _Parquet(file, kinds)


class _Terminal:
    """A table to read: a block for each portion, numbers rounded, without lists; `error` only where there is one."""

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = {name: kind for name, kind in kinds.items() if not kind.startswith("list ")}

    def write(self, answers: pd.DataFrame) -> None:
        from rich.console import Console
        from rich.table import Table

        shown = {n: k for n, k in self._kinds.items() if n != "error" or answers["error"].notna().any()}
        table = Table()
        for name, kind in shown.items():
            table.add_column(name, justify="right" if kind in ("long", "double") else "left", overflow="fold")
        for row in _values(answers, list(shown)):
            table.add_row(*(f"{v:.4g}" if isinstance(v, float) else str(_text(v)) for v in row))
        Console(markup=False, emoji=False, highlight=False).print(table)


def _text(value: Any) -> Any:
    """As people write it: nothing for what is missing, a day without its midnight."""
    if isinstance(value, datetime) and value.time() == time.min:
        return value.date()
    return "" if value is None else value


def _values(answers: pd.DataFrame, names: Sequence[str]) -> Iterator[list[Any]]:
    """Rows of plain Python values; None where there is nothing."""
    import pandas as pd

    for row in answers[list(names)].itertuples(index=False, name=None):
        yield [None if not isinstance(value, (list, str)) and pd.isna(value) else value for value in row]
