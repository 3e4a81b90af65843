"""From raw files to the store: what is read, what is rejected and why, who comes into which split."""

from __future__ import annotations

import gzip
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from stages.data.prepared import open_prepared
from stages.data.store import SequenceStore
from stages.preprocessing.preparation import Preparation, PreparationError
from stages.tasks.translation.data.readers import (
    Corpus,
    Pair,
    Part,
    read_corpus,
    read_pairs,
    write_corpus,
)
from stages.tasks.translation.data.tokenizer import UNKNOWN, load_tokenizers
from stages.tasks.translation.params import PrepareParams, SourceParams
from stages.tasks.translation.prepare.prepare import prepare
from stages.tasks.translation.source.download import download
from tests.unit.test_translation_readers import records

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no real data beside this checkout")


def source_params(**values: Any) -> SourceParams:
    defaults = {"kind": "sample", "url": "", "source_language": "en", "target_language": "de", "pairs": 400, "seed": 1}
    return SourceParams(**{**defaults, "also": [], "also_test": False, **values})


def prepare_params(**values: Any) -> PrepareParams:
    defaults = {
        "encoding": "auto",
        "tokenizer": "character",
        "shared_vocabulary": False,
        "vocabulary_size": 500,
        "max_source_tokens": 64,
        "max_target_tokens": 64,
        "split_by": "source",
        "group": "",
        "validation_share": 0.2,
        "test_share": 0.2,
        "seed": 1,
        "max_rejected_share": 1.0,
    }
    return PrepareParams(**{**defaults, **values})


def raw_lines(folder: Path, content: bytes, **part: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pairs.tsv").write_bytes(content)
    parts = [Part(files=["pairs.tsv"], split="drawn", **part)]
    write_corpus(folder, Corpus(source_language="en", target_language="de", parts=parts))
    return folder


def held_out(folder: Path, *, train: str, test: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "train.tsv").write_text(train, encoding="utf-8")
    (folder / "val.tsv").write_text(test, encoding="utf-8")
    parts = [Part(files=["train.tsv"], split="drawn"), Part(files=["val.tsv"], split="test")]
    write_corpus(folder, Corpus(source_language="en", target_language="de", parts=parts))
    return folder


def prepared(raw: Path, output: Path, **values: Any) -> tuple[SequenceStore, dict[str, Any], dict[str, float]]:
    params = prepare_params(**values)
    with Preparation(output, max_rejected_share=params.max_rejected_share) as preparation:
        prepare(raw, params, preparation)
    return *open_prepared(output), preparation.metrics()


def numbered(count: int) -> bytes:
    return "".join(f"source {n}\ttarget {n}\n" for n in range(count)).encode()


def test_every_bad_record_is_set_aside_with_its_reason(tmp_path: Path) -> None:
    bad = "a\t\nsource 1\ttarget 1\n \u200b\tb\nthree\tcolumns\there\n" + "x" * 70 + "\ty\n"
    raw = raw_lines(tmp_path / "raw", numbered(50) + bad.encode())
    store, _, metrics = prepared(raw, tmp_path / "prepared")
    assert len(store) == 50
    rejected = pq.read_table(tmp_path / "prepared" / "rejected.parquet").to_pylist()
    assert {(r["id"], r["rule"], r["reason"]) for r in rejected} == {
        ("pairs.tsv:51", "empty", "found no text in the target; allowed: text in both"),
        ("pairs.tsv:52", "duplicate", "found the same pair before; allowed: each pair once"),
        ("pairs.tsv:53", "empty", "found no text in the source; allowed: text in both"),
        ("pairs.tsv:54", "wrong_columns", "found 3 tab-separated columns; allowed: 2"),
        ("pairs.tsv:55", "too_long", "found 70 tokens in the source; allowed: 64"),
    }
    assert metrics["rejected"] == 5
    assert metrics["rejected_empty"] == 2


def test_repairs_are_counted(tmp_path: Path) -> None:
    raw = raw_lines(tmp_path / "raw", numbered(50) + "Oui\u00a0!\tJa\nsoft\u00adhyphen\tb\n".encode())
    store, _, metrics = prepared(raw, tmp_path / "prepared")
    assert metrics["repaired_spaces"] == 1
    assert metrics["repaired_invisible"] == 1
    assert "Oui !" in store.column("source_text").tolist()


def test_too_many_rejections_fail(tmp_path: Path) -> None:
    raw = raw_lines(tmp_path / "raw", numbered(50) + b"one column\n" * 50)
    with pytest.raises(PreparationError, match=r"rejected 50 of 100 pairs.*wrong_columns 50"):
        prepared(raw, tmp_path / "prepared", max_rejected_share=0.1)


def splits_by_text(store: SequenceStore, column: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for split in ("train", "validation", "test"):
        for text in store.column(column)[store.rows(split)]:
            found.setdefault(text, set()).add(split)
    return found


@pytest.mark.parametrize(("split_by", "column"), [("source", "source_text"), ("target", "target_text")])
def test_all_pairs_of_one_text_come_into_one_split(tmp_path: Path, split_by: str, column: str) -> None:
    lines = "".join(f"source {n // 4}\ttarget {n % 40}\n" for n in range(160))
    store, _, _ = prepared(raw_lines(tmp_path / "raw", lines.encode()), tmp_path / "prepared", split_by=split_by)
    found = splits_by_text(store, column)
    assert len(found) == 40
    assert all(len(splits) == 1 for splits in found.values())
    assert {split for splits in found.values() for split in splits} == {"train", "validation", "test"}


@pytest.mark.parametrize("group", ["column_3", r"#[0-9]+ \((.+?)\)"])
def test_no_group_and_no_text_comes_into_two_splits(tmp_path: Path, group: str) -> None:
    lines = "".join(
        f"source {n}\ttarget {n}\tCC-BY #{7 if group == 'column_3' else n} (author {n % 20})\n" for n in range(400)
    )
    lines += "".join(f"source {n}\tanother {n}\tCC-BY #7 (author {n % 20 + 1})\n" for n in range(40))
    lines += "no third column\tb\nempty third column\tb\t \n"
    store, _, metrics = prepared(raw_lines(tmp_path / "raw", lines.encode()), tmp_path / "prepared", group=group)
    for column in ("group", "source_text"):
        found = splits_by_text(store, column)
        assert all(len(splits) == 1 for name, splits in found.items() if name)
        assert {split for splits in found.values() for split in splits} == {"train", "validation", "test"}
    assert len(set(store.column("group")) - {None}) in (20, 21)
    assert metrics["repaired_no_group"] == 2
    assert metrics["rejected"] == metrics["rejected_in_other_split"] > 0
    assert len(store) + metrics["rejected"] == 442


def test_a_pattern_reads_the_source_where_there_is_no_third_column(tmp_path: Path) -> None:
    lines = "".join(f"<doc{n % 20}> source {n}\ttarget {n}\n" for n in range(400)).encode()
    store, _, metrics = prepared(raw_lines(tmp_path / "raw", lines), tmp_path / "prepared", group="^<(doc[0-9]+)>")
    assert all(len(splits) == 1 for splits in splits_by_text(store, "group").values())
    assert (len(store), metrics["rejected"], metrics.get("repaired_no_group")) == (400, 0, None)


def test_what_no_record_has_cannot_be_the_group() -> None:
    with pytest.raises(ValidationError, match="empty, column_3, or a regular expression with one pair of parentheses"):
        prepare_params(group="attribution")


def test_no_date_of_the_test_set_is_in_training(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    download(source_params(pairs=2000), tmp_path / "raw")
    store, description, _ = prepared(tmp_path / "raw", tmp_path / "prepared", split_by="target", test_share=0.1)
    assert all(len(splits) == 1 for splits in splits_by_text(store, "target_text").values())
    ambiguous = dict(
        line.split("\t")[::2] for line in (tmp_path / "raw" / "ambiguous.tsv").read_text("utf-8").splitlines()
    )
    test = store.column("source_text")[store.rows("test")]
    best = sum(0.5 if text in ambiguous else 1.0 for text in test) / len(test)
    assert description["best_possible_exact_match"] == pytest.approx(best)
    assert best < 1


def test_the_tokenizer_learns_from_the_training_split_alone(tmp_path: Path) -> None:
    # Every pair has a character of its own: what the vocabulary knows is what training shows.
    lines = "".join(f"{chr(0x4E00 + n)}\t{chr(0x4E00 + n)}\n" for n in range(100))
    store, _, _ = prepared(raw_lines(tmp_path / "raw", lines.encode()), tmp_path / "prepared")
    for split in ("train", "validation", "test"):
        unknown = [store.sequence("source", row).tolist() == [1] for row in store.rows(split)]
        assert len(unknown) > 5
        assert all(value is (split != "train") for value in unknown)


@pytest.mark.parametrize("kind", ["character", "subword"])
def test_a_shared_vocabulary_is_learned_from_both_languages_and_read_as_one(tmp_path: Path, kind: str) -> None:
    raw = raw_lines(tmp_path / "raw", "".join(f"red {n}\tröd {n}\n" for n in range(60)).encode())
    store, data, _ = prepared(raw, tmp_path / "prepared", tokenizer=kind, shared_vocabulary=True, vocabulary_size=60)
    source, target = load_tokenizers(tmp_path / "prepared", data)
    assert source is target
    assert data["source_vocabulary_size"] == data["target_vocabulary_size"] == source.size
    assert UNKNOWN not in source.encode("röd red 7")
    assert (
        [path.name for path in (tmp_path / "prepared").glob("*tokenizer.json")] == data["assets"] == ["tokenizer.json"]
    )
    row = store.rows("test")[0]
    assert source.decode(store.sequence("source", row).tolist()) == store.value("source_text", row)
    assert source.decode(store.sequence("target", row).tolist()) == store.value("target_text", row)


def test_separate_vocabularies_know_one_language_each(tmp_path: Path) -> None:
    raw = raw_lines(tmp_path / "raw", "".join(f"red {n}\tröd {n}\n" for n in range(60)).encode())
    _, data, _ = prepared(raw, tmp_path / "prepared")
    source, target = load_tokenizers(tmp_path / "prepared", data)
    assert [UNKNOWN in tokenizer.encode("ö") for tokenizer in (source, target)] == [True, False]
    assert not data["shared_vocabulary"]


def test_the_publishers_test_set_stays_whole_and_out_of_training(tmp_path: Path) -> None:
    test = "source 7\tanother target\n" + "source x\ttarget x\n" * 2 + "y" * 99 + "\tz\n"
    raw = held_out(tmp_path / "raw", train=numbered(100).decode(), test=test)
    store, _, metrics = prepared(raw, tmp_path / "prepared")
    assert store.column("source_text")[store.rows("test")].tolist() == ["source 7", "source x", "source x", "y" * 99]
    assert metrics["rejected_in_test_set"] == 1
    assert len(store.rows("train")) + len(store.rows("validation")) == 99


def test_the_same_raw_files_give_the_same_bytes(tmp_path: Path) -> None:
    raw = raw_lines(tmp_path / "raw", numbered(80) + b"bad\n")
    for name in ("a", "b"):
        prepared(raw, tmp_path / name, tokenizer="subword", vocabulary_size=60)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == [
        "description.json",
        "rejected.parquet",
        "sequences.arrow",
        "source_tokenizer.json",
        "target_tokenizer.json",
    ]
    assert all((tmp_path / "a" / n).read_bytes() == (tmp_path / "b" / n).read_bytes() for n in names)


def test_a_corpus_too_small_to_split_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no pair in .*found train"):
        prepared(raw_lines(tmp_path / "raw", numbered(2)), tmp_path / "prepared")


def test_a_raw_folder_that_nobody_downloaded_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"corpus\.json: no such file"):
        prepared(tmp_path, tmp_path / "prepared")


def test_a_users_tsv_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "my pairs.tsv").write_bytes(numbered(60))
    (tmp_path / "raw").mkdir()
    download(source_params(kind="tsv", url=f"file://{tmp_path}/my pairs.tsv"), tmp_path / "raw")
    store, description, _ = prepared(tmp_path / "raw", tmp_path / "prepared")
    assert len(store) == 60
    assert description["best_possible_exact_match"] is None


def tatoeba_zip(folder: Path, *members: str) -> str:
    with zipfile.ZipFile(folder / "fra-eng.zip", "w") as archive:
        for member in members:
            archive.writestr(member, "Go.\tVa\u202f!\nHi.\tSalut\u00a0!\tCC-BY 2.0\n")
    return folder.as_uri()


def test_a_tatoeba_zip_is_unpacked_without_its_junk(tmp_path: Path) -> None:
    url = tatoeba_zip(tmp_path, "__MACOSX/fra-eng/._fra.txt", "fra-eng/_about.txt", "fra-eng/fra.txt", "fra-eng/x.exe")
    (tmp_path / "raw").mkdir()
    download(source_params(kind="tatoeba", url=url, source_language="fra", target_language="eng"), tmp_path / "raw")
    assert sorted(p.name for p in (tmp_path / "raw").iterdir()) == [
        "_about.txt",
        "corpus.json",
        "downloads.json",
        "fra.txt",
    ]
    part = Part(files=["fra.txt"], split="drawn", columns=(2, 3), swapped=True)
    assert [r.source for r in records(tmp_path / "raw", part) if isinstance(r, Pair)] == ["Va\u202f!", "Salut\u00a0!"]


def test_a_zip_without_its_text_is_refused(tmp_path: Path) -> None:
    url = tatoeba_zip(tmp_path, "fra-eng/deu.txt")
    (tmp_path / "raw").mkdir()
    with pytest.raises(ValueError, match=r"found no fra\.txt inside, or more than one"):
        download(source_params(kind="tatoeba", url=url, source_language="eng", target_language="fra"), tmp_path / "raw")


def test_params_refuse_what_cannot_be_downloaded() -> None:
    with pytest.raises(ValidationError, match=r"an address in source\.url"):
        source_params(kind="tsv")
    with pytest.raises(ValidationError, match="two languages"):
        source_params(kind="multi30k", target_language="en")
    with pytest.raises(ValueError, match="one of the two must be eng"):
        download(source_params(kind="tatoeba", source_language="fra", target_language="deu"), Path("unused"))
    with pytest.raises(ValueError, match="found a file named 'pairs.xlsx'"):
        download(source_params(kind="tsv", url="https://host/pairs.xlsx"), Path("unused"))


@needs_data
def test_multi30k_is_read_from_its_own_layout(tmp_path: Path) -> None:
    host = tmp_path / "host"
    host.mkdir()
    for name in ("val.en.gz", "val.de.gz"):  # the small part twice: the whole takes seconds
        shutil.copyfile(DATA / "multi30k" / name, host / name)
    for language in ("en", "de"):
        lines = gzip.decompress((DATA / "multi30k" / f"train.{language}.gz").read_bytes()).split(b"\n")[:300]
        (host / f"train.{language}.gz").write_bytes(gzip.compress(b"\n".join(lines) + b"\n"))
    (tmp_path / "raw").mkdir()
    download(source_params(kind="multi30k", url=host.as_uri()), tmp_path / "raw")
    store, _, metrics = prepared(
        tmp_path / "raw", tmp_path / "prepared", tokenizer="subword", vocabulary_size=800, max_source_tokens=100
    )
    assert len(store.rows("test")) == 1014
    assert metrics["accepted"] + metrics["rejected"] == 1314
    assert store.value("target_text", store.rows("test")[0]).startswith("Eine Gruppe von Männern lädt Baumwolle")


@needs_data
def test_tatoebas_real_zip_is_read_without_its_junk_and_with_its_spaces(tmp_path: Path) -> None:
    url = (DATA / "tatoeba").as_uri()
    download(source_params(kind="tatoeba", url=url, source_language="eng", target_language="fra"), tmp_path)
    assert "__MACOSX" not in {path.name for path in tmp_path.rglob("*")}
    found = list(read_pairs(tmp_path, read_corpus(tmp_path)))
    pairs = [record for record in found if isinstance(record, Pair)]
    assert len(found) == len(pairs) == 167_130
    assert len({pair.source for pair in pairs}) < 0.75 * len(pairs)  # many a source has several translations
    assert sum("\u202f" in pair.target for pair in pairs) > 1000


@pytest.mark.parametrize("name", ["..%2F..%2Fx.tsv", "%2e%2e%2fx.tsv", "..%5Cx.tsv"])
def test_an_address_does_not_lead_out_of_the_raw_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(numbered(60))
    (tmp_path / "raw").mkdir()
    with pytest.raises(ValueError, match="as the file's name; allowed: a name without"):
        download(source_params(kind="tsv", url=f"file://{tmp_path}/{name}"), tmp_path / "raw")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["raw", name])
