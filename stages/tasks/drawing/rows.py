"""Rows for any version of the registered model: labels from text files, and an example."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...data.text import AUTO, printable
from ...serving.lines import lines

INPUT = "labels.txt, one label per line, optionally followed by a tab and a temperature, and a tab and a seed"
KEY = {"number": "long", "label": "string", "temperature": "double", "seed": "long"}  # number: the line
CHUNK_SIZE = 1024

_MAX_LINE = 2**16  # characters


def groups(source: str, encoding: str = AUTO) -> Iterator[list[dict[str, Any]]]:
    """A line at a time, empty ones left out.

    Its number is the seed where it names none, so that no two are alike; the temperature is then the model's own.
    """
    for number, text, fault in lines(source, encoding, max_length=_MAX_LINE):
        if fault:
            yield [{"number": number, "label": printable(text), "error": fault}]
        elif text.strip():
            yield [_row(number, text.strip("\r\n"))]


def example(folder: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The first class, whatever it is called."""
    return [{"label": "#1"}]


def _row(number: int, text: str) -> dict[str, Any]:
    label, *further = (part.strip() for part in text.split("\t"))
    row: dict[str, Any] = {"number": number, "label": label, "target": label, "temperature": None, "seed": number}
    try:
        if len(further) > 2:
            raise ValueError(f"{len(further) + 1} columns")
        if further and further[0]:
            row["temperature"] = float(further[0])
        if len(further) == 2 and further[1]:
            row["seed"] = _seed(further[1])
    except ValueError as error:
        row["error"] = f"found {error}; allowed: a label, a temperature and a seed, separated by tabs"
    return row


def _seed(text: str) -> int:
    seed = int(text)
    if seed.bit_length() > 63:
        raise ValueError(f"a seed of {len(text)} characters, {text[:24]!r}")
    return seed
