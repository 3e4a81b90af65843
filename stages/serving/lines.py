"""Lines and records of a text file anywhere, one at a time: what `predict` reads may be larger than memory."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any, cast


@contextmanager
def open_source(source: str) -> Iterator[IO[bytes]]:
    """A file by its path or any fsspec URL; one whose name ends in .gz is unpacked on the way.

    Raises ValueError where it cannot be read, or its compressed data are damaged.
    """
    with _open(source) as file, gzip.open(file) if source.endswith(".gz") else nullcontext(file) as content:
        try:
            yield cast("IO[bytes]", content)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{source}: damaged: {error}") from None


def lines(source: str, *, max_bytes: int) -> Iterator[tuple[int, bytes]]:
    """The lines, numbered from 1, without their ends; one of more than `max_bytes` is cut one byte after that."""
    with open_source(source) as file:
        number = 0
        while line := file.readline(max_bytes + 2):
            number += 1
            if number == 1:
                line = _checked_first(source, line)
            rest = line
            while not rest.endswith(b"\n") and (rest := file.readline(max_bytes + 2)):
                pass
            yield number, line.removesuffix(b"\n").removesuffix(b"\r")[: max_bytes + 1]


def records(source: str, required: Collection[str], allowed: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The records of a UTF-8 CSV with a header, each with the number of the line that it ends in.

    Bytes that are no UTF-8 become U+FFFD; values beyond the header's columns are left out. Raises ValueError for what
    is no CSV, and where a `required` column is missing: `allowed` says which may be there.
    """
    with open_source(source) as file:
        reader = csv.DictReader(io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline=""))
        try:
            columns = reader.fieldnames or []
            if not set(required) <= set(columns):
                found = ", ".join(columns)[:200] or "none"
                raise ValueError(f"{source}: found columns {found}; allowed: {allowed}")
            for record in reader:
                yield reader.line_num, {column: value for column, value in record.items() if column}
        except csv.Error as error:
            raise ValueError(f"{source}: line {reader.line_num}: not a CSV: {error}") from None


def _open(source: str) -> IO[bytes]:
    local = "://" not in source
    if local and not Path(source).exists():
        raise ValueError(f"{source}: no such file")
    try:
        if local:
            return Path(source).open("rb")
        import fsspec

        return cast("IO[bytes]", fsspec.open(source, "rb").open())
    except Exception as error:  # the library behind each protocol has errors of its own
        raise ValueError(f"{source}: cannot be read: {error or type(error).__name__}") from None


def _checked_first(source: str, line: bytes) -> bytes:
    """The first line without a byte order mark. Raises ValueError where it shows that the file is in UTF-16, or that
    its lines end in a carriage return alone.
    """
    if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError(f"{source}: found UTF-16; allowed: UTF-8")
    if b"\n" not in line and b"\r" in line.rstrip(b"\r"):
        raise ValueError(f"{source}: found lines that end in a carriage return; allowed: a line feed, or both")
    return line.removeprefix(codecs.BOM_UTF8)
