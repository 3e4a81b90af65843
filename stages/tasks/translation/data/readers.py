"""Raw files as sentence pairs: tab-separated lines, and files that are aligned line by line.

`corpus.json`, written by the download, says what lies in the raw folder. Lines end at a line feed and nowhere else,
since texts may hold Unicode's other line separators. Nothing is trusted: a line has a longest length and a file a
largest size.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from ....data.additional import is_additional
from ....data.files import read_json, write_json
from ....data.text import AUTO, Line, open_text, printable

CORPUS = "corpus.json"
AMBIGUOUS = "ambiguous.tsv"  # of the sample alone: source, one of its targets, that target's probability
MAX_LINE = 32 * 2**10  # characters; a sentence has some hundred
MAX_FILE = 16 * 2**30  # characters


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Files that belong together: one of tab-separated lines, or two whose lines belong together, source first."""

    files: Sequence[str]
    split: Literal["drawn", "test", "train"]  # `test`: its publisher holds it out; `train`: it may measure nothing
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
    split: Literal["drawn", "test", "train"]
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


def read_pairs(
    folder: Path, corpus: Corpus, encoding: str = AUTO, *, further: bool = False
) -> Iterator[Pair | BadRecord]:
    """Every record of the corpus; held-out parts first, so that a reader can keep their sentences out of training, and
    those that may measure nothing last, so that it can keep those of all other parts out of them. Additional files are
    UTF-8, whatever the `encoding` of the others.

    Empty lines that follow each other are one BadRecord. With `further` a tab-separated line may have a third column in
    every part. Raises ValueError for a file that is missing, damaged, no text or too large, and for aligned files of
    unequal length.
    """
    for part in sorted(corpus.parts, key=lambda part: ("test", "drawn", "train").index(part.split)):
        for lines, repeats in _records(folder, part, AUTO if is_additional(part.files[0]) else encoding):
            yield _record(part, lines, repeats, further)


def _record(part: Part, lines: Sequence[Line], repeats: int, further: bool) -> Pair | BadRecord:
    id = f"{part.files[0]}:{lines[0].number}"
    if not lines[0].text and not lines[-1].text:
        found = f"{repeats:,} empty lines" if repeats > 1 else "an empty line"
        reason = f"found {found}; allowed: a source and a target"
        return BadRecord(id, part.files[0], "empty_line", reason, "")
    for line, file in zip(lines, part.files, strict=True):
        if len(line.text) > MAX_LINE:
            reason = f"found a line of more than {MAX_LINE} characters; allowed: {MAX_LINE}"
            return BadRecord(id, file, "line_too_long", reason, printable(line.text[:2000]))
        if line.fault:
            return BadRecord(id, file, "undecodable", line.fault, printable(line.text))
    if len(lines) == 2:
        return Pair(id, part.split, lines[0].text, lines[1].text)
    columns = lines[0].text.split("\t")
    allowed = sorted({*part.columns, 3}) if further else part.columns
    if len(columns) not in allowed:
        reason = f"found {len(columns)} tab-separated columns; allowed: {' or '.join(map(str, allowed))}"
        return BadRecord(id, part.files[0], "wrong_columns", reason, lines[0].text)
    source, target = columns[1::-1] if part.swapped else columns[:2]
    return Pair(id, part.split, source, target, *columns[2:3])


def _records(folder: Path, part: Part, encoding: str) -> Iterator[tuple[Sequence[Line], int]]:
    """The lines of the part's files that belong together, and how often: empty ones of all come together."""
    files = [_runs(folder / name, encoding) for name in part.files]
    if len(files) == 1:
        yield from (([line], repeats) for line, repeats in files[0])
        return
    runs = [next(file, None) for file in files]
    while any(runs):
        lines = [run[0] for run in runs if run]
        if len(lines) < len(runs):
            short, long = part.files if runs[0] is None else reversed(part.files)
            raise ValueError(
                f"{folder / short}: ends after {lines[0].number - 1} lines, but {long} continues; "
                f"allowed: equally many lines in both, each the translation of the other's"
            )
        repeats = min(run[1] for run in runs if run)
        yield lines, repeats
        runs = [_after(run, repeats) or next(file, None) for run, file in zip(runs, files, strict=True)]


def _after(run: tuple[Line, int] | None, repeats: int) -> tuple[Line, int] | None:
    """What is left of a run of equal lines."""
    if run is None or run[1] == repeats:
        return None
    return run[0]._replace(number=run[0].number + repeats), run[1] - repeats


def _runs(path: Path, encoding: str) -> Iterator[tuple[Line, int]]:
    """The lines of a file; one that is too long comes cut after MAX_LINE + 1."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file, though {CORPUS} names it")
    read = 0
    with open_text(path, encoding) as text:
        for line, repeats in text.runs(max_length=MAX_LINE):
            read += (len(line.text) + 1) * repeats
            if read > MAX_FILE:
                raise ValueError(f"{path}: more than {MAX_FILE} characters, which is the largest allowed")
            yield line, repeats
