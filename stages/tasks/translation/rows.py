"""Rows for any version of the registered model: sentences from text files, and an example."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...data.text import AUTO, printable
from ...serving.lines import lines, records, suffix

INPUT = "sentences.txt, one sentence per line, or sentences.csv with a column text"
KEY = {"number": "long", "text": "string"}  # the line (of a CSV, the last one of the record), and what stands in it
CHUNK_SIZE = 1024

_MAX_LINE = 2**20  # characters


def groups(source: str, encoding: str = AUTO) -> Iterator[list[dict[str, Any]]]:
    """A line at a time, empty ones too, so that the table has a row for each; one that is no text has an `error`."""
    if suffix(source) == ".csv":
        for number, record in records(source, ("text",), "text", encoding, several_lines=True):
            sentence = {"number": number, "text": record["text"]}
            yield [sentence | {"target": record["target"]} if record.get("target") else sentence]
        return
    for number, text, fault in lines(source, encoding, max_length=_MAX_LINE):
        row: dict[str, Any] = {"number": number, "text": printable(text) if fault else text}
        yield [row | {"error": fault} if fault else row]


def example(folder: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    """A text so short that any model reads it, whatever its languages."""
    return [{"text": "2015"}]
