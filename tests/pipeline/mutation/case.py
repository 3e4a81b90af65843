"""A format and one damaged content of it; what its runs and checks share."""

from __future__ import annotations

import codecs
import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from stages.params import load

from .mutators import TEXT, Mutator

_MARKS = {  # UTF-32's first: UTF-16's is its beginning
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


@dataclass
class Format:
    """A format by its name: its valid `content`, how it is damaged, run and checked."""

    name: str
    content: bytes
    run: Callable[[Case], None]
    check: Callable[[Case], None]
    mutators: tuple[Mutator, ...] = TEXT
    inside: Mutator | None = None
    prepare: Callable[[], None] = lambda: None  # once, before the first
    may_crash: bool = False


@dataclass
class Case:
    """One content, and what a run notes for its check."""

    kind: Format
    content: bytes
    inside: bool = False  # the damage is within a checksum
    notes: dict[str, Any] = field(default_factory=dict)


def params(task: str, prepare: Mapping[str, Any], source: Mapping[str, Any]) -> Any:
    """The task's blocks of params.yaml with changes; what the verbs read of them."""
    blocks = _DEFAULTS[task]
    return SimpleNamespace(
        **{
            name: type(block).model_validate({**block.model_dump(), **changes})
            for name, block, changes in (("prepare", blocks.prepare, prepare), ("source", blocks.source, source))
        }
    )


_DEFAULTS = load(Path(__file__).resolve().parents[3] / "params.yaml")


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def counts(task: str) -> dict[str, int]:
    found: dict[str, int] = json.loads(Path(f"metrics/preprocess/{task}.json").read_text(encoding="utf-8"))
    return found


def text_of(content: bytes) -> str:
    """The characters of a text, by its mark or as UTF-8; what is no UTF-8 as half surrogates."""
    if content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content)
    mark, encoding = next(((mark, name) for mark, name in _MARKS.items() if content.startswith(mark)), (b"", "utf-8"))
    return content[len(mark) :].decode(encoding, errors="surrogateescape")
