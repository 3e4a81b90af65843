"""Rows for any version of the registered model: drawings from files, and an example."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...data.text import AUTO
from ...serving.lines import lines, open_source, suffix

INPUT = "drawings.ndjson (Quick, Draw!'s lines, or one drawing per line), drawings.json (a list of either)"
KEY = {"number": "long", "key_id": "string"}  # the line, or the place in the list
CHUNK_SIZE = 1024

_MAX_LINE = 4 * 2**20  # characters of a drawing, as prepare and the model allow
_MAX_LIST = 256 * 2**20  # bytes of UTF-8 of a file that has to be in memory as a whole


def groups(source: str, encoding: str = AUTO) -> Iterator[list[dict[str, Any]]]:
    """A drawing at a time. What is none is passed on as it stands: the model says what is wrong with it."""
    if suffix(source) == ".json":
        yield from ([_row(number, value)] for number, value in enumerate(_list(source, encoding), start=1))
        return
    for number, text, fault in lines(source, encoding, max_length=_MAX_LINE):
        if fault:
            yield [{"number": number, "error": fault}]
        elif text.strip():
            yield [_row(number, _value(text))]


def example(folder: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    """A square."""
    return [{"drawing": [[[0, 255, 255, 0, 0], [0, 0, 255, 255, 0]]]}]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _row(number: int, value: Any) -> dict[str, Any]:
    record = value if isinstance(value, dict) else {"drawing": value}
    key, label = record.get("key_id"), record.get("word", record.get("label"))
    row = {"number": number, "key_id": None if key is None else str(key), "drawing": record.get("drawing")}
    return row if label is None else row | {"target": str(label)}


def _list(source: str, encoding: str) -> list[Any]:
    content = bytearray()
    with open_source(source, encoding) as text:
        for chunk in text.chunks():
            content += chunk
            if len(content) > _MAX_LIST:
                raise ValueError(
                    f"{source}: more than {_MAX_LIST:,} bytes; use an .ndjson with one drawing per line instead"
                )
        decoded = content.decode("utf-8", errors="surrogateescape")
        if fault := text.fault(decoded):
            raise ValueError(f"{source}: {fault}")
    try:
        found = json.loads(decoded)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{source}: not JSON: {error}; use the ending .ndjson for JSON lines") from None
    if not isinstance(found, list):
        raise ValueError(f"{source}: found {type(found).__name__}; allowed: a list of drawings")
    return found
