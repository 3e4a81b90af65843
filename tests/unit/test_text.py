"""From bytes to text: marks, named encodings, gzip, and what cannot be decoded."""

from __future__ import annotations

import codecs
import gzip
import io
import time
from encodings.aliases import aliases
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


def test_empty_lines_that_follow_each_other_are_one_run_whatever_they_end_in() -> None:
    text = Text(io.BytesIO(b"a\n\r\n\n" + b"\r\n\n" * 50 + b"a\r\na\n\n\r"), "a.txt")
    runs = [(line.number, line.text, repeats) for line, repeats in text.runs(max_length=9)]
    assert runs == [(1, "a", 1), (2, "", 102), (104, "a", 1), (105, "a", 1), (106, "", 2)]


def test_another_encoding_is_named() -> None:
    assert found("Müller\nMöller\n".encode("cp1252"), "cp1252") == ["Müller", "Möller"]
    assert found("日本\n語\n".encode("shift_jis"), "shift_jis") == ["日本", "語"]
    assert found("a\tb\n".encode("utf-16-be"), "utf-16-be") == ["a\tb"]


TEXTS = {
    "western": "a house\tein Haus\n",
    "cyrillic": "дата,магазин,продажи\n2020-01-01,Пермь,5\n",
    "one word": "Привет",
    "greek": "σπίτι\tHaus\n",
    "thai": "บ้าน\tHaus\nแมว\tKatze\n",
    "chinese": "房子在山上\tHaus\n猫和狗都在家\tKatze\n" * 100,
    "japanese": "これは家です。\t12\n" * 300,
}


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_wide_characters_without_a_mark_are_recognised_and_refused_unless_they_are_named(
    text: str, encoding: str
) -> None:
    with pytest.raises(TextError) as error:
        found(text.encode(encoding))
    allowed = f"allowed: UTF-8, {encoding[:6].upper()} with a mark, or set prepare.encoding: {encoding}"
    assert str(error.value) == f"a.txt: found {encoding.upper()} without a byte order mark; {allowed}"
    with pytest.raises(TextError, match="without a byte order mark; prepare.encoding says cp1252; allowed: UTF-8, UTF"):
        found(text.encode(encoding), "cp1252")
    assert found(text.encode(encoding), encoding) == text.split("\n")[: text.count("\n") or 1]


@pytest.mark.parametrize(
    "text", [*TEXTS.values(), "a\0b,1\n", "\x01\x02,5\n" * 50, "0,0,0\0,0\n" * 99, "a,1\n" + "\0" * 900]
)
def test_utf8_is_taken_for_nothing_else(text: str) -> None:
    assert found(text.encode()) == text.split("\n")[: text.count("\n") + (not text.endswith("\n"))]


@pytest.mark.parametrize("named", ["utf-16", "UTF_16", "utf-32"])
def test_an_encoding_that_needs_a_mark_is_refused_without_one(named: str) -> None:
    wide = f"{named[:3]}-{named[-2:]}-be".lower()
    with pytest.raises(
        TextError, match=f"found {wide.upper()} without a byte order mark; prepare.encoding says {named}"
    ):
        found("a,1\nb,2\n".encode(wide), named)
    with pytest.raises(
        TextError, match=f"which {named} needs; allowed: a mark, or set prepare.encoding: utf-..-le or utf"
    ):
        found(b"a,1\nb,2\n", named)
    assert found("a,1\n".encode(wide[:6]), named) == ["a,1"]


def test_a_line_without_end_is_refused_before_it_fills_the_memory() -> None:
    text = Text(io.BytesIO(b"a\n" + bytes([120]) * (2**24 + 1)), "a.csv")
    with pytest.raises(TextError, match="a.csv: line 2: found a line of 16,777,216 characters or more"):
        list(text.checked())


def test_where_no_encoding_can_be_named_the_way_out_is_to_convert() -> None:
    (line,) = Text(io.BytesIO("Müller\n".encode("cp1252")), "a.txt").lines(max_length=9)
    assert line.fault == "found byte 0xfc at 1 after 'M'; allowed: UTF-8; iconv -f cp1252 -t utf-8 converts a file"


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
    with pytest.raises(TextError, match="a.txt: after line 1: found bytes that are not utf-16-le: truncated data"):
        found(codecs.BOM_UTF16_LE + "a\nb".encode("utf-16-le")[:-1])


def test_a_line_that_is_too_long_is_cut_and_the_next_is_read() -> None:
    text = Text(io.BytesIO(b"x" * 300_000 + b"\n12345\r\nlast"), "a.txt")
    assert [(n, t) for n, t, _ in text.lines(max_length=5)] == [(1, "xxxxxx"), (2, "12345"), (3, "last")]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_blank_line_is_never_too_long_and_blanks_before_words_are(end: bytes) -> None:
    text = Text(io.BytesIO(b" " * 300_000 + b"\n" + b" \t" * 150_000 + b"word\n" + b" " * 428_146 + end), "a.txt")
    expected = [(1, " " * 5), (2, " \t \t \t"), (3, " " * 5)]
    assert [(n, t) for n, t, _ in text.lines(max_length=5)] == expected


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


@pytest.mark.parametrize("name", ["auto", "utf-8", "cp1252", "Latin-1", "shift_jis", "utf-16-le", "utf-16", "gb18030"])
def test_names_of_encodings(name: str) -> None:
    assert check_encoding(name) == name


NO_TEXT = ["idna", "punycode", "rot13", "base64", "hex", "zlib", "raw_unicode_escape", "unicode-escape", "undefined"]


@pytest.mark.parametrize("name", ["", "cp1", "a\0b", "ä", "mbcs", "oem", *NO_TEXT])
def test_what_is_no_name_of_an_encoding(name: str) -> None:
    with pytest.raises(ValueError, match="^auto or an encoding of text that Python knows, such as cp1252, utf-16-le"):
        check_encoding(name)


def test_every_encoding_that_is_allowed_is_read_to_the_end() -> None:
    text = "date,y\n2020-01-01,1\n"
    for name in sorted(set(aliases.values())):
        try:
            check_encoding(name)
        except ValueError:
            continue
        assert found(text.encode(name), name) == text.splitlines(), name
