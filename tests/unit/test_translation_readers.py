"""Lines of text files as pairs of sentences, and what is said of those that are none."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import pytest

from stages.tasks.translation.data.readers import (
    MAX_LINE,
    BadRecord,
    Corpus,
    Pair,
    Part,
    read_pairs,
)


def records(folder: Path, *parts: Part) -> list[Pair | BadRecord]:
    return list(read_pairs(folder, Corpus(source_language="en", target_language="de", parts=parts)))


def test_a_tab_separated_line_is_two_columns_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "pairs.tsv").write_bytes(b'\xef\xbb\xbfa\tb\r\nc\nd\te\tf\n"g\th\n\x85i\xff\tj\nk\xc2\x85\tl')
    found = records(tmp_path, Part(files=["pairs.tsv"], split="drawn"))
    pairs = [(r.id, r.source, r.target) for r in found if isinstance(r, Pair)]
    assert pairs == [("pairs.tsv:1", "a", "b"), ("pairs.tsv:4", '"g', "h"), ("pairs.tsv:6", "k\x85", "l")]
    refused = [(r.id, r.rule, r.reason) for r in found if isinstance(r, BadRecord)]
    assert refused == [
        ("pairs.tsv:2", "wrong_columns", "found 1 tab-separated columns; allowed: 2"),
        ("pairs.tsv:3", "wrong_columns", "found 3 tab-separated columns; allowed: 2"),
        ("pairs.tsv:5", "undecodable", "found byte 0x85 at 0; allowed: UTF-8, as its byte order mark says"),
    ]


def test_columns_can_be_swapped_and_a_third_passed_over(tmp_path: Path) -> None:
    (tmp_path / "fra.txt").write_text("Go.\tVa !\tCC-BY 2.0\nHi.\tSalut !\n", encoding="utf-8")
    part = Part(files=["fra.txt"], split="drawn", columns=(2, 3), swapped=True)
    assert [(r.source, r.target) for r in records(tmp_path, part) if isinstance(r, Pair)] == [
        ("Va !", "Go."),
        ("Salut !", "Hi."),
    ]


def test_a_line_without_end_is_refused_without_being_kept(tmp_path: Path) -> None:
    exact = b"a\t" + b"b" * (MAX_LINE - 2)
    (tmp_path / "pairs.tsv").write_bytes(b"x" * (5 * MAX_LINE) + b"\n" + exact + b"\r\n" + exact + b"b\nc\td\n")
    found = records(tmp_path, Part(files=["pairs.tsv"], split="drawn"))
    assert [(r.id, getattr(r, "rule", "")) for r in found] == [
        ("pairs.tsv:1", "line_too_long"),
        ("pairs.tsv:2", ""),
        ("pairs.tsv:3", "line_too_long"),
        ("pairs.tsv:4", ""),
    ]


def aligned(folder: Path, source: bytes, target: bytes) -> Part:
    (folder / "train.en.gz").write_bytes(gzip.compress(source))
    (folder / "train.de.gz").write_bytes(gzip.compress(target))
    return Part(files=["train.en.gz", "train.de.gz"], split="drawn")


def test_lines_of_aligned_files_belong_together(tmp_path: Path) -> None:
    found = records(tmp_path, aligned(tmp_path, b"a\nb\xff\nc\n", b"A\nB\nC"))
    assert [(r.id, r.source, r.target) for r in found if isinstance(r, Pair)] == [
        ("train.en.gz:1", "a", "A"),
        ("train.en.gz:3", "c", "C"),
    ]
    assert [(r.id, r.rule) for r in found if isinstance(r, BadRecord)] == [("train.en.gz:2", "undecodable")]


def test_aligned_files_of_unequal_length_are_unusable(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="train.de.gz: ends after 1 lines, but train.en.gz continues"):
        records(tmp_path, aligned(tmp_path, b"a\nb\n", b"A\n"))


def test_a_truncated_gzip_file_is_named(tmp_path: Path) -> None:
    part = aligned(tmp_path, b"a\n" * 1000, b"A\n" * 1000)
    whole = (tmp_path / "train.de.gz").read_bytes()
    (tmp_path / "train.de.gz").write_bytes(whole[:-10])
    with pytest.raises(ValueError, match="train.de.gz: damaged: Compressed file ended"):
        records(tmp_path, part)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_how_a_file_is_written_and_costs_no_sentence(
    tmp_path: Path, encoding: str, packed: bool
) -> None:
    content = "The old hat\tTopi tua\nMüller\tMøller\n".encode(encoding)
    (tmp_path / "pairs.tsv").write_bytes(gzip.compress(content) if packed else content)
    found = records(tmp_path, Part(files=["pairs.tsv"], split="drawn"))
    assert [(r.source, r.target) for r in found if isinstance(r, Pair)] == [
        ("The old hat", "Topi tua"),
        ("Müller", "Møller"),
    ]


def test_an_encoding_that_is_named_is_taken_and_one_that_is_not_costs_the_line(tmp_path: Path) -> None:
    (tmp_path / "pairs.tsv").write_bytes("a house\tein Haus\nMüller\tMøller\n".encode("cp1252"))
    corpus = Corpus(source_language="en", target_language="de", parts=[Part(files=["pairs.tsv"], split="drawn")])
    assert [r.source for r in read_pairs(tmp_path, corpus, "cp1252") if isinstance(r, Pair)] == ["a house", "Müller"]
    _, bad = read_pairs(tmp_path, corpus)
    assert isinstance(bad, BadRecord)
    assert bad.reason == "found byte 0xfc at 1 after 'M'; allowed: UTF-8, or set prepare.encoding: cp1252"
    assert bad.content == r"M\xfcller" + "\t" + r"M\xf8ller"


def test_millions_of_empty_lines_are_one_rejection(tmp_path: Path) -> None:
    (tmp_path / "pairs.tsv").write_bytes(b"a\tb\n" + b"\n" * 3_000_000 + b"c\td\n\r\n")
    started = time.monotonic()
    found = records(tmp_path, Part(files=["pairs.tsv"], split="drawn"))
    assert time.monotonic() - started < 5
    assert [(r.id, getattr(r, "reason", "")) for r in found] == [
        ("pairs.tsv:1", ""),
        ("pairs.tsv:2", "found 3,000,000 empty lines; allowed: a source and a target"),
        ("pairs.tsv:3000002", ""),
        ("pairs.tsv:3000003", "found an empty line; allowed: a source and a target"),
    ]


def test_empty_lines_of_aligned_files_keep_them_aligned(tmp_path: Path) -> None:
    found = records(tmp_path, aligned(tmp_path, b"a\n\n\n\nb\n", b"A\n\n\nX\nB\n"))
    assert [(r.id, getattr(r, "target", "bad")) for r in found] == [
        ("train.en.gz:1", "A"),
        ("train.en.gz:2", "bad"),  # two lines
        ("train.en.gz:4", "X"),
        ("train.en.gz:5", "B"),
    ]
