"""Rows for any version of the registered model: sentences from text files, and an example."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...serving.lines import lines, records

INPUT = "sentences.txt, a sentence a line, or sentences.csv with a column text"
KEY = {"number": "long", "text": "string"}  # the line (of a CSV, the last one of the record), and what stands in it
CHUNK_SIZE = 1024

_MAX_LINE = 2**20  # bytes


def groups(source: str) -> Iterator[list[dict[str, Any]]]:
    """A line at a time, empty ones too, so that the table has a row for each; one that is no UTF-8 has an `error`."""
    if source.removesuffix(".gz").endswith(".csv"):
        yield from ([_row(number, record["text"] or "")] for number, record in records(source, ("text",), "text"))
        return
    for number, line in lines(source, max_bytes=_MAX_LINE):
        try:
            yield [{"number": number, "text": line.decode("utf-8")}]
        except UnicodeDecodeError as error:
            reason = f"found byte 0x{line[error.start]:02x} at {error.start}; allowed: UTF-8"
            yield [{"number": number, "text": line.decode("utf-8", errors="backslashreplace"), "error": reason}]


def example(folder: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    """A text so short that any model reads it, whatever its languages."""
    return [{"text": "2015"}]


def _row(number: int, text: str) -> dict[str, Any]:
    row: dict[str, Any] = {"number": number, "text": text}
    return row | {"error": "found bytes that are no UTF-8; allowed: UTF-8"} if "\ufffd" in text else row
