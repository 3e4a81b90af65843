"""Lines and records of a text file anywhere, one at a time: what `predict` reads may be larger than memory."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

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
                line = line._replace(fault=f"found a line of more than {max_length:,} characters; allowed: as many")
            yield line


def records(
    source: str, required: Collection[str], allowed: str, encoding: str = AUTO
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The records of a CSV with a header, each with the number of the line that it ends in.

    Raises ValueError for what is no CSV or no text, for a line with more values than columns, and where a `required`
    column is missing or one stands there twice: `allowed` says which may be there.
    """
    with open_source(source, encoding) as text:
        reader = csv.DictReader(text.checked())
        try:
            columns = [name.strip() for name in reader.fieldnames or []]  # as preparation reads them
            reader.fieldnames = columns
            if not set(required) <= set(columns):
                found = ", ".join(columns)[:200] or "none"
                raise ValueError(f"{source}: found columns {found}; allowed: {allowed}")
            if twice := next((name for name in columns if name and columns.count(name) > 1), ""):
                raise ValueError(f"{source}: found the column {twice} twice; allowed: each once")
            for record in reader:
                further: Any = record.get(None, ())
                if any(map(str.strip, further)):
                    raise ValueError(
                        f"{source}: line {reader.line_num}: found {len(columns) + len(further)} values for "
                        f"{len(columns)} columns; allowed: one for each (a value with a comma stands in quotes)"
                    )
                yield reader.line_num, {column: value for column, value in record.items() if column}
        except csv.Error as error:
            raise ValueError(f"{source}: line {reader.line_num}: not a CSV: {error}") from None


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
