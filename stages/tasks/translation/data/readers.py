"""Raw files as sentence pairs: tab-separated lines, and files that are aligned line by line; plain or gzip.

`corpus.json`, written by the download, says what lies in the raw folder. Lines end at a line feed and nowhere else,
since texts may hold Unicode's other line separators. Nothing is trusted: a line has a longest length and a file a
largest size.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import IO, Literal, cast

from ....data.files import read_json, write_json

CORPUS = "corpus.json"
AMBIGUOUS = "ambiguous.tsv"  # of the sample alone: source, one of its targets, that target's probability
MAX_LINE = 32 * 2**10  # bytes; a sentence has some hundred
MAX_FILE = 16 * 2**30  # bytes, after decompression


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Files that belong together: one of tab-separated lines, or two whose lines belong together, source first."""

    files: Sequence[str]
    split: Literal["drawn", "test"]  # `test`: its publisher holds it out for testing
    columns: Sequence[int] = (2,)  # how many a tab-separated line may have; those after the second are passed over
    swapped: bool = False  # the target stands in the first column


@dataclass(frozen=True, kw_only=True, slots=True)
class Corpus:
    """What lies in the raw folder."""

    source_language: str
    target_language: str
    parts: Sequence[Part]


@dataclass(frozen=True, slots=True)
class Pair:
    """A record that could be read."""

    id: str  # FILE:LINE, counted from 1
    file: str
    split: Literal["drawn", "test"]
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that could not."""

    id: str
    file: str
    rule: str
    reason: str
    content: str


def write_corpus(folder: Path, corpus: Corpus) -> None:
    """Write `corpus.json` into the raw folder."""
    write_json(folder / CORPUS, asdict(corpus))


def read_corpus(folder: Path) -> Corpus:
    """Raises ValueError where `corpus.json` is missing or is not what `write_corpus` writes."""
    path = folder / CORPUS
    if not path.is_file():
        raise ValueError(f"{path}: no such file; the download stage writes it")
    try:
        content = read_json(path)
        return Corpus(**{**content, "parts": [Part(**part) for part in content["parts"]]})
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not written by the download stage: {error}") from None


def read_pairs(folder: Path, corpus: Corpus) -> Iterator[Pair | Unreadable]:
    """Every record of the corpus; held-out parts first, so that a reader can keep their sentences out of training.

    Raises ValueError for a file that is missing, damaged or too large, and for aligned files of unequal length.
    """
    for part in sorted(corpus.parts, key=lambda part: part.split != "test"):
        if len(part.files) == 1:
            yield from _tab_separated(folder, part)
        else:
            yield from _aligned(folder, part)


def _tab_separated(folder: Path, part: Part) -> Iterator[Pair | Unreadable]:
    name = part.files[0]
    for number, line in enumerate(_lines(folder / name), start=1):
        id = f"{name}:{number}"
        text = _decoded(line)
        if isinstance(text, _Refused):
            yield Unreadable(id, name, text.rule, text.reason, text.content)
            continue
        columns = text.split("\t")
        if len(columns) not in part.columns:
            allowed = " or ".join(map(str, part.columns))
            reason = f"found {len(columns)} tab-separated columns; allowed: {allowed}"
            yield Unreadable(id, name, "wrong_columns", reason, text)
            continue
        source, target = (columns[1], columns[0]) if part.swapped else (columns[0], columns[1])
        yield Pair(id, name, part.split, source, target)


def _aligned(folder: Path, part: Part) -> Iterator[Pair | Unreadable]:
    source_name, target_name = part.files
    lines = zip_longest(_lines(folder / source_name), _lines(folder / target_name))
    for number, (source_line, target_line) in enumerate(lines, start=1):
        if source_line is None or target_line is None:
            short, long = (source_name, target_name) if source_line is None else (target_name, source_name)
            raise ValueError(
                f"{folder / short}: ends after {number - 1} lines, but {long} goes on; "
                f"allowed are as many lines in both, each the translation of the other's"
            )
        id = f"{source_name}:{number}"
        source, target = _decoded(source_line), _decoded(target_line)
        if isinstance(source, str) and isinstance(target, str):
            yield Pair(id, source_name, part.split, source, target)
            continue
        for name, text in ((source_name, source), (target_name, target)):
            if isinstance(text, _Refused):
                yield Unreadable(id, name, text.rule, text.reason, text.content)
                break


@dataclass(frozen=True, slots=True)
class _Refused:
    rule: str
    reason: str
    content: str


def _decoded(line: bytes) -> str | _Refused:
    if len(line) > MAX_LINE:
        content = line[:2000].decode("utf-8", errors="replace")
        return _Refused("line_too_long", f"found a line of more than {MAX_LINE} bytes; allowed: {MAX_LINE}", content)
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        reason = f"found byte 0x{line[error.start]:02x} at {error.start}; allowed: UTF-8"
        return _Refused("not_utf8", reason, line.decode("utf-8", errors="backslashreplace"))


def _lines(path: Path) -> Iterator[bytes]:
    """The lines without their end and without a byte order mark; one that is too long comes cut after MAX_LINE + 1."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file, though {CORPUS} names it")
    number = read = 0
    try:
        with cast("IO[bytes]", gzip.open(path) if path.suffix == ".gz" else path.open("rb")) as file:
            while line := file.readline(MAX_LINE + 2):
                number += 1
                read += len(line)
                text = line.removesuffix(b"\n")
                while not line.endswith(b"\n") and (line := file.readline(MAX_LINE + 2)):  # the rest of a long line
                    read += len(line)
                    if read > MAX_FILE:
                        break
                if read > MAX_FILE:
                    raise ValueError(f"{path}: more than {MAX_FILE} bytes, which is the largest allowed")
                yield (text.removeprefix(b"\xef\xbb\xbf") if number == 1 else text).removesuffix(b"\r")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: damaged after line {number}: {error}") from None
