"""Lines of a text file anywhere, one at a time: what `predict` reads may be larger than memory."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast


@contextmanager
def opened(source: str) -> Iterator[IO[bytes]]:
    """A file by its path or any fsspec URL; one whose name ends in .gz is unpacked on the way."""
    with _raw(source) as raw:
        if not source.endswith(".gz"):
            yield raw
            return
        try:
            with gzip.open(raw) as unpacked:
                yield cast("IO[bytes]", unpacked)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{source}: damaged: {error}") from None


def lines(source: str, *, max_bytes: int) -> Iterator[tuple[int, bytes]]:
    """The lines, numbered from 1, without their ends; one of more than `max_bytes` is cut one byte after that."""
    with opened(source) as file:
        number = 0
        while line := file.readline(max_bytes + 2):
            number += 1
            rest = line
            while not rest.endswith(b"\n") and (rest := file.readline(max_bytes + 2)):
                pass
            text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            yield number, text.removesuffix(b"\n").removesuffix(b"\r")[: max_bytes + 1]


def stem(source: str) -> str:
    """The name of a file without folder and suffixes: `days` of `https://host/days.csv.gz`."""
    return source.rstrip("/").rpartition("/")[2].partition(".")[0]


@contextmanager
def _raw(source: str) -> Iterator[IO[bytes]]:
    if "://" not in source:
        if not Path(source).is_file():
            raise ValueError(f"{source}: no such file")
        with Path(source).open("rb") as file:
            yield file
        return
    import fsspec

    try:
        remote = fsspec.open(source, "rb").open()
    except Exception as error:  # the library behind each protocol has errors of its own
        raise ValueError(f"{source}: cannot be read: {error or type(error).__name__}") from None
    with remote:
        yield remote
