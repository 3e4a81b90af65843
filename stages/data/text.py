"""Text that people wrote, from bytes to characters: the one way of every reader, in training as in `predict`.

A byte order mark decides (UTF-8, UTF-16, UTF-32), else the encoding that the user names, else it is UTF-8. gzip is
known by its first bytes, whatever the name. No byte becomes a character that nobody wrote: what cannot be decoded is
told with its place and the way out.
"""

from __future__ import annotations

import codecs
import gzip
import io
import re
import unicodedata
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count, groupby
from pathlib import Path
from typing import IO, NamedTuple

AUTO = "auto"  # a byte order mark, else UTF-8
CONVERT = "iconv -f cp1252 -t utf-8 converts a file"  # the way out where no encoding can be named

MAX_RATIO = 250  # bytes unpacked for a packed one: text packs to 3 to 20, deflate cannot reach 1,033, bombs do
RATIO_FROM = 2**24  # bytes unpacked, below which the ratio does not matter

_HEAD = 4096  # bytes that are looked at before the first is decoded; whole characters, however wide
_MAX_LINE = 2**24  # characters of a line that is read whole
_BUFFER = 2**17
_GZIP = b"\x1f\x8b"
_MARKS = {  # UTF-32's first: UTF-16's is its beginning
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_NO_TEXT = {
    b"PK\x03\x04": "a zip or a spreadsheet",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PAR1": "Parquet",
    b"SQLite format 3\x00": "an SQLite database",
}
_NO_CHARACTERS = {
    "undefined",
    "idna",
    "punycode",
    "unicode-escape",
    "raw-unicode-escape",
    "mbcs",
    "oem",
}  # codecs of others
_MARKED = {
    "utf-16": "utf-16-le or utf-16-be",
    "utf-32": "utf-32-le or utf-32-be",
}  # what to name where the mark is missing
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x19\x1c-\x1f]")  # bytes that no text has, unless it is of wider characters
_NO_LETTERS = {"Cc", "Cn", "Co", "Cs"}  # categories: control, unassigned, private, surrogate
_EMPTY = {"\n": True, "\r\n": True, "\r": True}  # its `get` groups lines in C; the last is a file's end
_UNDECODED = re.compile("[\udc80-\udcff]")  # what `surrogateescape` makes of a byte that cannot be decoded


class TextError(ValueError):
    """A file that is no text in its encoding; one line with its name, the place, what was found and is allowed."""


class Line(NamedTuple):
    """A line without its end. With a `fault`, `text` holds bytes as `surrogateescape` writes them: `printable`."""

    number: int  # from 1
    text: str
    fault: str | None  # what could not be decoded, and what is allowed


class Text:
    """An opened text: its `stream` of characters, line ends untouched, and the name of its `encoding`."""

    def __init__(self, file: IO[bytes], name: str, encoding: str = AUTO, *, option: str = "") -> None:
        """`file` is read from where it stands and may be no more than readable; `name` is what errors call it, `option`
        where a user says another encoding, if that can be said.

        Raises TextError for what is no text: damaged, packed otherwise than by gzip, UTF-16 or UTF-32 without a mark.
        """
        self._name, self._option = name, option
        try:
            self.packed, content = _unpacked(file)
            head = _read(content, _HEAD)
        except _Damaged as error:
            raise TextError(f"{name}: {error}") from None
        self.encoding, mark = self._recognise(head, encoding)
        if mark:
            self._allowed = f"{self.encoding.upper()}, as its byte order mark says"
        elif encoding == AUTO:
            self._allowed = f"UTF-8, or set {self._setting('cp1252')}" if option else f"UTF-8; {CONVERT}"
        else:
            self._allowed = f"{encoding}, as {option} says"
        self.stream = io.TextIOWrapper(
            io.BufferedReader(_Rest(head[mark:], content), _BUFFER), self.encoding, errors="surrogateescape", newline=""
        )

    def lines(self, *, max_length: int) -> Iterator[Line]:
        """The lines, which end at a line feed alone; one that is longer is cut one character after `max_length`, or at
        `max_length` where all of it is white space: it is as blank as a short one.

        Raises TextError for a file that is damaged, or whose lines end in a carriage return alone.
        """
        for line, repeats in self.runs(max_length=max_length):
            yield line
            for further in range(1, repeats):
                yield line._replace(number=line.number + further)

    def runs(self, *, max_length: int) -> Iterator[tuple[Line, int]]:
        """`lines`, each with a count: of empty ones that follow each other the first, and how many they are.

        Thirty millions of them are skipped in seconds.
        """
        self.stream.reconfigure(newline="\n")
        number = 1
        with self._errors(lambda: number - 1):
            for empty, lines in groupby(iter(partial(self.stream.readline, max_length + 2), ""), _EMPTY.get):
                if empty:
                    repeats = _length(lines)
                    yield Line(number, "", None), repeats
                    number += repeats
                    continue
                for line in lines:
                    if number == 1 and "\r" in line.rstrip("\r\n") and not line.endswith("\n"):
                        found = "found lines that end in a carriage return alone; allowed: a line feed, or both"
                        raise TextError(f"{self._name}: {found}")
                    rest, blank = line, line.isspace()
                    while not rest.endswith("\n") and (rest := self.stream.readline(_BUFFER)):
                        blank = blank and rest.isspace()
                    line = line.removesuffix("\n").removesuffix("\r")[: max_length if blank else max_length + 1]
                    yield Line(number, line, self.fault(line)), 1
                    number += 1

    def checked(self) -> Iterator[str]:
        """The lines with their ends, as `csv` wants them. Raises TextError for the first byte that is no text."""
        number = 0
        with self._errors(lambda: number):
            for number, text in enumerate(iter(partial(self.stream.readline, _MAX_LINE), ""), start=1):
                if len(text) == _MAX_LINE:
                    found = f"found a line of {_MAX_LINE:,} characters or more; allowed: fewer"
                    raise TextError(f"{self._name}: line {number:,}: {found}")
                if fault := self.fault(text):
                    raise TextError(f"{self._name}: line {number:,}: {fault}")
                yield text

    def chunks(self) -> Iterator[bytes]:
        """The text in UTF-8, some megabytes at a time; bytes that could not be decoded as they are."""
        with self._errors(lambda: 0):
            while text := self.stream.read(2**20):
                yield text.encode("utf-8", errors="surrogateescape")

    def fault(self, text: str) -> str | None:
        """What of a text could not be decoded, and what is allowed; None where all could."""
        found = undecoded(text)
        return f"{found}; allowed: {self._allowed}" if found else None

    def _setting(self, encoding: str) -> str:
        return f"{self._option}{' ' if self._option.startswith('--') else ': '}{encoding}"

    @contextmanager
    def _errors(self, number: Callable[[], int]) -> Iterator[None]:
        """What goes wrong while lines are read, as TextError; `number` is that of the last good one."""
        try:
            yield
        except UnicodeDecodeError as error:  # of encodings whose bytes cannot stand alone, as UTF-16's
            found = f"found bytes that are not {error.encoding}: {error.reason}"
            raise TextError(f"{self._name}: after line {number():,}: {found}; allowed: {self._allowed}") from None
        except _Damaged as error:
            place = f"after line {number():,}: " if number() else ""
            raise TextError(f"{self._name}: {place}{error}") from None

    def _recognise(self, head: bytes, named: str) -> tuple[str, int]:
        """The encoding of what begins with `head`, and the length of its byte order mark."""
        for magic, kind in _NO_TEXT.items():
            if head.startswith(magic):
                raise TextError(f"{self._name}: found {kind}; allowed: text, plain or compressed with gzip")
        for mark, encoding in _MARKS.items():
            if head.startswith(mark):
                return encoding, len(mark)
        found = _without_mark(head)
        own = "utf-8" if named == AUTO else codecs.lookup(named).name
        if found and found != own:
            raise TextError(f"{self._name}: {self._unmarked(found, named)}")
        if own in _MARKED and head:
            which = f"set {self._setting(_MARKED[own])}"
            raise TextError(f"{self._name}: found no byte order mark, which {named} needs; allowed: a mark, or {which}")
        return own if named == AUTO else named, 0

    def _unmarked(self, found: str, named: str) -> str:
        """What is wrong with UTF-16 or UTF-32 that has no mark and is not named."""
        way_out = f", or set {self._setting(found)}" if self._option else f"; {CONVERT.replace('cp1252', found)}"
        said = "" if named == AUTO else f"; {self._option} says {named}"
        allowed = f"UTF-8, {found[:6].upper()} with a mark{way_out}"
        return f"found {found.upper()} without a byte order mark{said}; allowed: {allowed}"


@contextmanager
def open_text(path: Path, encoding: str = AUTO, *, option: str = "prepare.encoding") -> Iterator[Text]:
    """The text in a file, as it is or packed by gzip; errors call it by its name without folders. Raises TextError."""
    with path.open("rb") as file:
        yield Text(file, path.name, encoding, option=option)


def is_packed(path: Path) -> bool:
    """Whether a file is packed by gzip."""
    with path.open("rb") as file:
        return file.read(len(_GZIP)) == _GZIP


def printable(text: str) -> str:
    """A text whose undecoded bytes are written as `\\xff`."""
    return text.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="backslashreplace")


def undecoded(text: str) -> str | None:
    """The first byte of a text that could not be decoded, and its place, in words; None where all could be."""
    found = None if text.isascii() else _UNDECODED.search(text)
    if not found:
        return None
    start = found.start()
    place = f"{start} after {text[max(0, start - 20) : start]!r}" if start else "0"
    return f"found byte 0x{ord(text[start]) - 0xDC00:02x} at {place}"


def check_encoding(name: str) -> str:
    """The name of an encoding of text, as it came. Raises ValueError, which says what is allowed, for any other name:
    Python has codecs of other things, such as `base64` and `idna`.
    """
    if name == AUTO:
        return name
    try:
        known = codecs.lookup(name).name not in _NO_CHARACTERS
        if known and io.TextIOWrapper(io.BytesIO("1\n".encode(name)), name, newline="").read() == "1\n":
            return name
    except (LookupError, ValueError):
        pass
    raise ValueError(f"{AUTO} or an encoding of text that Python knows, such as cp1252, utf-16-le, shift_jis")


def _length(items: Iterable[object]) -> int:
    """How many there are: a loop that runs in C."""
    counter = count()
    deque(zip(items, counter, strict=False), maxlen=0)
    return next(counter)


def _without_mark(head: bytes) -> str | None:
    """The name of UTF-32 or UTF-16 where what begins with `head` is that and nothing else; else None.

    Bytes of control characters show that characters are wider than a byte.
    """
    if not _CONTROL.search(head):
        return None
    for width in (4, 2):
        content = head[: len(head) // width * width]
        names = (f"utf-{8 * width}-le", f"utf-{8 * width}-be")
        likely, name = max((_likelihood(content, name), name) for name in names)
        if likely > 0.5:
            return name
    return None


def _likelihood(content: bytes, encoding: str) -> float:
    """How likely a wide encoding is, 0 to 1. Of the two orders of bytes the wrong one makes characters that nobody has
    assigned, few of the alphabets, and none of those that part lines and columns.
    """
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(content)
    except UnicodeDecodeError:
        return 0.0
    odd = sum(unicodedata.category(sign) in _NO_LETTERS and not sign.isspace() for sign in text)
    if len(text) < 2 or odd > len(text) // 100:
        return 0.0
    if encoding.startswith("utf-32"):  # of a number of four bytes eleven bits are 0
        return 1.0
    ascii_ = sum(map(str.isascii, text))
    alphabets = sum(sign < "\u2000" for sign in text)  # beyond are scripts of thousands of characters
    many = 0.6 if "\n" in text and ascii_ > len(text) // 50 else 0.0
    return max(alphabets / len(text), many) if ascii_ or len(text) < 40 else 0.0


class _Damaged(Exception):
    """Packed data that cannot be unpacked, or unpack to absurdly more than they weigh."""


class _Rest(io.RawIOBase):
    """What a function reads, after bytes that were read before."""

    def __init__(self, head: bytes, read: Callable[[int], bytes]) -> None:
        self._head, self._read = head, read
        self.count = 0  # bytes given

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        chunk = self._head[: len(buffer)] or self._read(len(buffer))
        self._head = self._head[len(chunk) :]
        buffer[: len(chunk)] = chunk
        self.count += len(chunk)
        return len(chunk)


class _Gunzip:
    """Unpacks gzip, and compares what goes in and what comes out."""

    def __init__(self, packed: _Rest) -> None:
        self._packed, self._count = packed, 0
        self._file = gzip.GzipFile(fileobj=io.BufferedReader(packed))

    def read(self, size: int) -> bytes:
        try:
            chunk = self._file.read(size)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise _Damaged(f"damaged: {error}") from None
        self._count += len(chunk)
        if self._count > max(RATIO_FROM, MAX_RATIO * self._packed.count):
            raise _Damaged(f"unpacks to more than {MAX_RATIO} times its size; refused as a decompression bomb")
        return chunk


def _unpacked(file: IO[bytes]) -> tuple[bool, Callable[[int], bytes]]:
    """Whether a file is packed by gzip, and what reads its content."""
    head = _read(file.read, len(_GZIP))
    rest = _Rest(head, file.read)
    return (True, _Gunzip(rest).read) if head == _GZIP else (False, io.BufferedReader(rest, _BUFFER).read)


def _read(read: Callable[[int], bytes], size: int) -> bytes:
    """The first `size` bytes, or all that there are; a stream over a network gives fewer at a time."""
    content = b""
    while len(content) < size and (chunk := read(size - len(content))):
        content += chunk
    return content
