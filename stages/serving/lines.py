"""Lines and records of a text file anywhere, one at a time: what `predict` reads may be larger than memory."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, cast

from ..data.csv_rows import rows
from ..data.text import AUTO, Line, Text

OPTION = "--encoding"  # of `predict`

_STDIN = ("-", "/dev/stdin")


def suffix(source: str) -> str:
    """The ending that tells what a source holds, such as `.csv`: in lower case, without `.gz` and a query."""
    name = re.sub(r"[?#].*", "", source) if "://" in source else source
    return PurePosixPath(name.lower().removesuffix(".gz")).suffix


def is_stream(source: str) -> bool:
    """Whether a source can be read once, from its beginning: standard input, a pipe, a device."""
    path = Path(source)
    return source in _STDIN or ("://" not in source and path.exists() and not (path.is_file() or path.is_dir()))


@contextmanager
def open_source(source: str, encoding: str = AUTO) -> Iterator[Text]:
    """The text of a file by its path or any fsspec URL, or of standard input (`-`), as it is or packed by gzip.

    Raises ValueError where it cannot be read or is no text.
    """
    with _open(source) as file:
        yield Text(file, source, encoding, option=OPTION)


def lines(source: str, encoding: str = AUTO, *, max_length: int) -> Iterator[Line]:
    """The lines, without their ends; one of more than `max_length` characters is cut, which is its fault."""
    with open_source(source, encoding) as text:
        for line in text.lines(max_length=max_length):
            if line.fault is None and len(line.text) > max_length:
                line = line._replace(
                    fault=f"found a line of more than {max_length:,} characters; allowed: {max_length:,}"
                )
            yield line


def records(
    source: str, required: Collection[str], allowed: str, encoding: str = AUTO, *, several_lines: bool = False
) -> Iterator[tuple[int, dict[str, str]]]:
    """The records of a CSV with a header, each with the number of the line that it ends in.

    Raises ValueError for what is no CSV or no text, for a line with more or fewer values than columns, for a value of
    `several_lines` unless they are allowed, and where a `required` column is missing or one stands there twice:
    `allowed` says which may be there.
    """
    with open_source(source, encoding) as text:
        columns: list[str] | None = None
        for row in rows(text.checked(), several_lines=several_lines):
            if row.fault:
                raise ValueError(f"{source}: line {row.number}: {row.fault}")
            if columns is None:
                columns = [name.strip() for name in row.cells]  # as preparation reads them
                _check_columns(source, columns, required, allowed)
                continue
            yield row.number, {name: value for name, value in zip(columns, row.cells, strict=True) if name}
        if columns is None:
            _check_columns(source, [], required, allowed)


def _check_columns(source: str, columns: list[str], required: Collection[str], allowed: str) -> None:
    if not set(required) <= set(columns):
        found = ", ".join(columns)[:200] or "none"
        raise ValueError(f"{source}: found columns {found}; allowed: {allowed}")
    if twice := next((name for name, count in Counter(filter(None, columns)).items() if count > 1), ""):
        raise ValueError(f"{source}: found the column {twice} twice; allowed: each column once")


def _open(source: str) -> IO[bytes]:
    if source in _STDIN:  # by its number: what is no file, such as a socket, cannot be opened by its name
        return open(0, "rb", closefd=False)
    protocol, separator, rest = source.partition("://")
    local = not separator
    if local and not Path(source).exists():
        raise ValueError(f"{source}: no such file")
    try:
        if local:
            return Path(source).open("rb")
        import fsspec

        return cast("IO[bytes]", fsspec.open(f"{protocol.lower()}://{rest}", "rb").open())
    except Exception as error:  # the library behind each protocol has errors of its own
        raise ValueError(f"{source}: cannot be read: {error or type(error).__name__}") from None
