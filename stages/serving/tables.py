"""Writers of predictions: a table on the terminal, CSV, Parquet, a chunk of rows at a time."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..data.csv_rows import row_writer

if TYPE_CHECKING:
    from pyarrow import parquet

SUFFIXES = (".csv", ".parquet")

Columns = Mapping[str, str]  # column → MLflow type name, or "list" of one, or "list list"
Rows = Iterable[Mapping[str, Any]]  # each with a value for every column, None where there is none
Write = Callable[[Rows], None]


def check_output(output: Path) -> None:
    """Raise OSError where a file cannot be written under this name, before any work is done for it."""
    if output.is_dir():
        raise IsADirectoryError(f"{output}: found a folder; allowed: the name of a file")
    folder = next(folder for folder in output.absolute().parents if folder.exists())
    if not folder.is_dir():
        raise NotADirectoryError(f"{output}: {folder} is a file; allowed: a file in a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{output}: {folder} is not writable; allowed: a folder in which this user may write")


@contextmanager
def table_writer(output: Path | None, columns: Columns) -> Iterator[Write]:
    """A function that writes rows; a file takes its name when the block ends without an error. Raises OSError with the
    file's name where it cannot be written.
    """
    if output is None:
        yield _terminal_writer(columns) if sys.stdout.isatty() else csv_writer(sys.stdout, columns)
        return
    temporary = output.with_name(f".{output.name}.partial")
    try:
        with _errors_of(output):
            output.parent.mkdir(parents=True, exist_ok=True)
            file, write_rows = (_csv_file if output.suffix.lower() == ".csv" else _parquet_file)(temporary, columns)

        def write(rows: Rows) -> None:
            with _errors_of(output):
                write_rows(rows)

        try:
            yield write
        except BaseException:
            with suppress(OSError):
                file.close()
            raise
        with _errors_of(output):
            file.close()  # what is still in memory is written here
            temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _errors_of(output: Path) -> Iterator[None]:
    """A full disk is an error without a name, and others name the temporary file."""
    try:
        yield
    except OSError as error:
        raise OSError(f"{output}: cannot be written: {error.strerror or error}") from error


def _csv_file(path: Path, columns: Columns) -> tuple[IO[str], Write]:
    file = path.open("w", newline="", encoding="utf-8")
    return file, csv_writer(file, columns)


def csv_writer(file: IO[str], columns: Columns) -> Write:
    """Writes the header at once; lists as JSON, a missing value as nothing."""
    writer = row_writer(file)
    writer.writerow(columns)

    def write(rows: Rows) -> None:
        writer.writerows([_text(row[name]) for name in columns] for row in rows)

    return write


def _parquet_file(path: Path, columns: Columns) -> tuple[parquet.ParquetWriter, Write]:
    import pyarrow
    from pyarrow import parquet

    types = {
        "long": pyarrow.int64(),
        "double": pyarrow.float64(),
        "string": pyarrow.string(),
        "datetime": pyarrow.timestamp("us"),
    }
    for _ in range(2):
        types |= {f"list {name}": pyarrow.list_(kind) for name, kind in types.items()}
    schema = pyarrow.schema([(name, types[kind]) for name, kind in columns.items()])
    file = parquet.ParquetWriter(path, schema)
    return file, lambda rows: file.write_table(pyarrow.Table.from_pylist(list(rows), schema=schema))


def _terminal_writer(columns: Columns) -> Write:
    """Writes a table for each chunk: rounded numbers, no lists, `error` only where there is one."""
    from rich.console import Console
    from rich.table import Table

    def write(rows: Rows) -> None:
        rows = list(rows)
        hidden = {name for name, kind in columns.items() if kind.startswith("list ")}
        if all(row["error"] is None for row in rows):
            hidden.add("error")
        shown = {name: kind for name, kind in columns.items() if name not in hidden}
        table = Table()
        for name, kind in shown.items():
            table.add_column(name, justify="right" if kind in ("long", "double") else "left", overflow="fold")
        for row in rows:
            values = [row[name] for name in shown]
            table.add_row(*(f"{v:.4g}" if isinstance(v, float) else str(_text(v)) for v in values))
        Console(markup=False, emoji=False, highlight=False).print(table)

    return write


def _text(value: Any) -> Any:
    """A value as people write it: nothing for None, a list as JSON, a date without its midnight."""
    if isinstance(value, list):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, datetime) and value.time() == time.min:
        return value.date()
    return "" if value is None else value
