"""From bytes to text: marks, named encodings, gzip, and what cannot be decoded."""

from __future__ import annotations

import codecs
import gzip
import io
import time
from pathlib import Path

import pytest

from stages.data.text import Line, Text, TextError, check_encoding, open_text, printable

WORDS = "Müller\tžluťoučký kůň\n日本語\tмир\n"


def found(content: bytes, encoding: str = "auto", **kwargs: str) -> list[str]:
    text = Text(io.BytesIO(content), "a.txt", encoding, **{"option": "prepare.encoding", **kwargs})
    return [line.text for line in text.lines(max_length=1000)]


def test_without_a_mark_it_is_utf8() -> None:
    assert found(WORDS.encode()) == found(gzip.compress(WORDS.encode())) == WORDS.splitlines()


@pytest.mark.parametrize(
    "content",
    [
        codecs.BOM_UTF8 + WORDS.encode(),
        codecs.BOM_UTF16_LE + WORDS.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + WORDS.encode("utf-16-be"),
        codecs.BOM_UTF32_LE + WORDS.encode("utf-32-le"),
        codecs.BOM_UTF32_BE + WORDS.encode("utf-32-be"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("named", ["auto", "cp1252"])
def test_a_byte_order_mark_decides_and_is_no_letter(content: bytes, packed: bool, named: str) -> None:
    assert found(gzip.compress(content) if packed else content, named) == WORDS.splitlines()


def test_another_encoding_is_named() -> None:
    assert found("Müller\nMöller\n".encode("cp1252"), "cp1252") == ["Müller", "Möller"]
    assert found("日本\n語\n".encode("shift_jis"), "shift_jis") == ["日本", "語"]
    assert found("a\tb\n".encode("utf-16-be"), "utf-16-be") == ["a\tb"]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_its_mark_is_recognised_and_refused(encoding: str) -> None:
    with pytest.raises(TextError) as error:
        found("a house\tein Haus\n".encode(encoding))
    allowed = f"allowed: UTF-8, UTF-16 with a mark, or set prepare.encoding: {encoding}"
    assert str(error.value) == f"a.txt: found {encoding.upper()} without a byte order mark; {allowed}"


def test_a_byte_that_is_no_text_is_told_with_its_place_and_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("shop,units\nMüller,1\n".encode("cp1252"))
    with (
        open_text(tmp_path / "a.csv") as text,
        pytest.raises(TextError, match="^a.csv: line 2: found byte 0xfc at 1 after 'M'; allowed: UTF-8, or set prep"),
    ):
        list(text.checked())
    with open_text(tmp_path / "a.csv") as text:
        first, second = text.lines(max_length=100)
    assert first == Line(1, "shop,units", None)
    reason = "found byte 0xfc at 1 after 'M'; allowed: UTF-8, or set prepare.encoding: cp1252"
    assert (printable(second.text), second.fault) == (r"M\xfcller,1", reason)


@pytest.mark.parametrize(
    ("content", "encoding", "allowed"),
    [
        (b"\xef\xbb\xbfa\n\xff\n", "cp1252", "UTF-8, as its byte order mark says"),
        (b"a\n\x81\n", "cp1252", "cp1252, as prepare.encoding says"),
    ],
)
def test_it_says_why_an_encoding_was_taken(content: bytes, encoding: str, allowed: str) -> None:
    text = Text(io.BytesIO(content), "a.txt", encoding, option="prepare.encoding")
    fault = [line.fault for line in text.lines(max_length=10)][1]
    assert fault is not None
    assert fault.endswith(f"allowed: {allowed}")


def test_utf16_that_breaks_off_is_told() -> None:
    with pytest.raises(TextError, match="a.txt: after line 1: found what is no utf-16-le: truncated data"):
        found(codecs.BOM_UTF16_LE + "a\nb".encode("utf-16-le")[:-1])


def test_a_line_that_is_too_long_is_cut_and_the_next_is_read() -> None:
    text = Text(io.BytesIO(b"x" * 300_000 + b"\n12345\r\nlast"), "a.txt")
    assert [(n, t) for n, t, _ in text.lines(max_length=5)] == [(1, "xxxxxx"), (2, "12345"), (3, "last")]


def test_lines_end_at_a_line_feed_alone() -> None:
    assert found("a\x85b\u2028c\x0bd\re\n\nf".encode()) == ["a\x85b\u2028c\x0bd\re", "", "f"]
    with pytest.raises(TextError, match="found lines that end in a carriage return"):
        found(b"one\rtwo\r")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"PK\x03\x04...", "a zip or a spreadsheet"),
        (b"BZh91AY", "bzip2"),
        (b"PAR1....", "Parquet"),
    ],
)
def test_what_is_no_text_is_named(content: bytes, kind: str) -> None:
    with pytest.raises(TextError, match=f"a.txt: found {kind}; allowed: text"):
        found(content)


def test_damaged_gzip_is_told_with_the_last_good_line() -> None:
    packed = gzip.compress(b"".join(b"%d\n" % (number * 7919 % 10007) for number in range(20_000)))
    with pytest.raises(TextError, match=r"a.txt: after line \d+,\d+: damaged: Compressed file ended"):
        found(packed[:-20])
    with pytest.raises(TextError, match="a.txt: damaged"):
        found(packed[:2] + b"\xff" + packed[3:])


def test_a_bomb_is_refused_in_bounded_time() -> None:
    bomb = gzip.compress(bytes(2**20) * 64)
    started = time.monotonic()
    with pytest.raises(TextError, match="unpacks to more than 250 times"):
        found(bomb)
    assert time.monotonic() - started < 5


def test_a_stream_that_gives_a_byte_at_a_time_is_read() -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(1)

    content = codecs.BOM_UTF16_LE + "a\nb\n".encode("utf-16-le")
    assert [line.text for line in Text(Slow(gzip.compress(content)), "a").lines(max_length=9)] == ["a", "b"]


@pytest.mark.parametrize("name", ["auto", "utf-8", "cp1252", "Latin-1", "shift_jis", "utf-16-le", "gb18030"])
def test_names_of_encodings(name: str) -> None:
    assert check_encoding(name) == name


@pytest.mark.parametrize("name", ["", "cp1", "rot13", "base64", "undefined", "a\0b"])
def test_what_is_no_name_of_an_encoding(name: str) -> None:
    with pytest.raises(ValueError, match="auto or an encoding that Python knows"):
        check_encoding(name)
