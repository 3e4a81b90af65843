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
    split: Literal["drawn", "test"]
    source: str
    target: str
    further: str = ""  # what stands in a third column


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that could not: `rule` is the short name it is counted under."""

    id: str
    file: str  # of a pair of files the one that cannot be read
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


def read_pairs(folder: Path, corpus: Corpus, *, further: bool = False) -> Iterator[Pair | BadRecord]:
    """Every record of the corpus; held-out parts first, so that a reader can keep their sentences out of training.

    With `further` a tab-separated line may have a third column in every part. Raises ValueError for a file that is
    missing, damaged or too large, and for aligned files of unequal length.
    """
    for part in sorted(corpus.parts, key=lambda part: part.split != "test"):
        for number, lines in enumerate(_records(folder, part), start=1):
            id = f"{part.files[0]}:{number}"
            try:
                texts = [_decode(line, file) for line, file in zip(lines, part.files, strict=True)]
                source, target, *third = texts if len(texts) == 2 else _columns(texts[0], part, further)
            except Rejection as error:
                yield BadRecord(id, error.file, error.rule, str(error), error.content)
            else:
                yield Pair(id, part.split, source, target, *third)


def _records(folder: Path, part: Part) -> Iterator[Sequence[bytes]]:
    """The lines of the part's files that belong together."""
    for number, lines in enumerate(zip_longest(*(_lines(folder / name) for name in part.files))):
        if None in lines:
            short, long = part.files if lines[0] is None else reversed(part.files)
            raise ValueError(
                f"{folder / short}: ends after {number} lines, but {long} goes on; "
                f"allowed are as many lines in both, each the translation of the other's"
            )
        yield lines


class Rejection(ValueError):
    """A record that cannot be used; `rule` is the short name it is counted under."""

    def __init__(self, file: str, rule: str, reason: str, content: str) -> None:
        super().__init__(reason)
        self.file, self.rule, self.content = file, rule, content


def _decode(line: bytes, file: str) -> str:
    if len(line) > MAX_LINE:
        content = line[:2000].decode("utf-8", errors="replace")
        reason = f"found a line of more than {MAX_LINE} bytes; allowed: {MAX_LINE}"
        raise Rejection(file, "line_too_long", reason, content)
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        reason = f"found byte 0x{line[error.start]:02x} at {error.start}; allowed: UTF-8"
        raise Rejection(file, "not_utf8", reason, line.decode("utf-8", errors="backslashreplace")) from None


def _columns(text: str, part: Part, further: bool) -> list[str]:
    """Source and target of a tab-separated line, and what stands in a third column."""
    columns = text.split("\t")
    allowed = sorted({*part.columns, 3}) if further else part.columns
    if len(columns) not in allowed:
        reason = f"found {len(columns)} tab-separated columns; allowed: {' or '.join(map(str, allowed))}"
        raise Rejection(part.files[0], "wrong_columns", reason, text)
    return [*(columns[1::-1] if part.swapped else columns[:2]), *columns[2:3]]


def _lines(path: Path) -> Iterator[bytes]:
    """The lines without their end and without a byte order mark; one that is too long comes cut after MAX_LINE + 1."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file, though {CORPUS} names it")
    number = read = 0
    ended = True  # the line before; what follows a cut one is the rest of it
    try:
        with cast("IO[bytes]", gzip.open(path) if path.suffix == ".gz" else path.open("rb")) as file:
            while line := file.readline(MAX_LINE + 2):
                read += len(line)
                if read > MAX_FILE:
                    raise ValueError(f"{path}: more than {MAX_FILE} bytes, which is the largest allowed")
                if ended:
                    number += 1
                    text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                    yield text.removesuffix(b"\n").removesuffix(b"\r")
                ended = line.endswith(b"\n")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: damaged after line {number}: {error}") from None
