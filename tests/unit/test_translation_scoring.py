"""How translations are scored: which pairs are a segment, several references, sacreBLEU's own numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF

from stages.tasks.translation.evaluate import scoring
from stages.tasks.translation.evaluate.scoring import bleu_tokenizer, sentence_scores, written_without_spaces
from stages.tasks.translation.evaluate.segments import read_segments

from . import test_translation_prepare as translation_prepare


def test_scores_are_shares_and_sacrebleus_percentages() -> None:
    assert scores(["the cat sat on the mat"], [["the cat sat on the mat"]]) == {
        "exact_match": 1.0,
        "bleu": pytest.approx(100.0),
        "chrf": pytest.approx(100.0),
    }
    assert scores(["the cat", "no"], [["the cat"], ["yes"]])["exact_match"] == 0.5
    # 4 of 5 words, 3 of 4 pairs, 2 of 3 triples, 1 of 2 quadruples: (0.8 · 0.75 · 0.667 · 0.5) ^ 1/4
    assert scores(["a b c d x"], [["a b c d e"]])["bleu"] == pytest.approx(100 * 0.2**0.25, rel=1e-6)


def test_any_reference_may_be_met() -> None:
    """BLEU takes each n-gram from the reference that has it, and the length from the nearest reference."""
    references = [["a b c d e", "a b c d x"], ["yes"]]
    assert scores(["a b c d x", "yes"], references)["exact_match"] == 1.0
    # "a b x" of "a b" and "b x y z": 3 of 3 words, 2 of 2 pairs; no triple (smoothed to 1/2 of 1), no quadruple
    mixed = sentence_scores("bleu", ["a b x"], [["a b", "b x y z"]], np.arange(1), language="en").statistics[0]
    hypothesis_length, reference_length, *counts = mixed.tolist()
    assert (hypothesis_length, reference_length) == (3, 2)  # of 2 and 4, equally near, the shorter
    assert counts == [3, 2, 0, 0, 3, 2, 1, 0]


def test_signatures_say_how_many_references_there_were() -> None:
    one = signatures(["a"], [["a"]])
    assert one["bleu"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert one["chrf"].startswith("nrefs:1|case:mixed|")
    assert signatures(["a", "b"], [["a"], ["b", "c"]])["bleu"].startswith("nrefs:var|")


def scores(hypotheses: list[str], references: list[list[str]], language: str = "en") -> dict[str, float]:
    return scoring.scores(hypotheses, references, language=language)


def signatures(hypotheses: list[str], references: list[list[str]], language: str = "en") -> dict[str, str]:
    return scoring.signatures(hypotheses, references, language=language)


SENTENCES = [
    ("the cat sat on the mat", ["the cat sat on a mat", "the cat was on the mat"]),
    ("a dog", ["a small dog"]),
    ("no", ["yes"]),
    ("it rains in the north today", ["it rains in the north today"]),
]


def test_corpus_scores_from_counts_are_sacrebleus_own() -> None:
    hypotheses = [said for said, _ in SENTENCES]
    references = [allowed for _, allowed in SENTENCES]
    found = {
        name: sentence_scores(name, hypotheses, references, np.arange(4), language="en") for name in ("bleu", "chrf")
    }
    first: list[Any] = ["the cat sat on a mat", "a small dog", "yes", references[3][0]]
    second: list[Any] = [references[0][1], None, None, None]  # as sacreBLEU's own docs have it
    for name, metric in (("bleu", BLEU()), ("chrf", CHRF())):
        assert found[name].value() == pytest.approx(metric.corpus_score(hypotheses, [first, second]).score, rel=1e-12)
    # A resample is a corpus of its own: the first sentence three times, and the last.
    again = [hypotheses[0]] * 3 + [hypotheses[3]], [references[0]] * 3 + [references[3]]
    times = np.array([3, 0, 0, 1])
    for name, expected in scores(*again).items():
        if name == "exact_match":
            continue
        assert found[name].metric((times @ found[name].statistics)[None])[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("language", "tokenizer"),
    [
        *[(code, "zh") for code in ("zh", "ZH", "zh_TW", "cmn", "zho")],
        *[(code, "char") for code in ("ja", "jpn", "ko", "kor", "th", "tha", "lo", "lao", "km", "khm", "my", "mya")],
        *[(code, "13a") for code in ("de", "fra", "iso8601", "zhang", "th2x")],
    ],
)
def test_bleus_tokenizer_follows_the_target_language_alone(language: str, tokenizer: str) -> None:
    assert bleu_tokenizer(language) == tokenizer
    assert f"|tok:{tokenizer}|" in signatures(["a"], [["a"]], language)["bleu"]


# Said, meant: one character of each second sentence is wrong.
CHINESE = [("我们今天在公园里散步。", "我们今天在公园里散步。"), ("他昨天买了一本新书。", "他昨天买了一本旧书。")]
THAI = [("แมวนอนอยู่บนเก้าอี้", "แมวนอนอยู่บนเก้าอี้"), ("เขาไปตลาดเมื่อวานนี้", "เขาไปตลาดเมื่อวานนั้น")]


@pytest.mark.parametrize(
    ("language", "tokenizer", "pairs"), [("zh", "zh", CHINESE), ("cmn", "zh", CHINESE), ("th", "char", THAI)]
)
def test_bleu_of_a_language_without_spaces_is_sacrebleus_own(
    language: str, tokenizer: str, pairs: list[tuple[str, str]]
) -> None:
    said, meant = [list(side) for side in zip(*pairs, strict=True)]
    expected = BLEU(tokenize=tokenizer).corpus_score(said, [meant]).score
    assert expected > 70
    assert scores(said, [[text] for text in meant], language)["bleu"] == pytest.approx(expected, rel=1e-12)
    assert scores(said[1:], [meant[1:]], "de")["bleu"] == 0  # by spaces, the second sentence is one wrong word


def test_texts_without_spaces_are_noticed_whatever_language_params_name() -> None:
    assert written_without_spaces([said for said, _ in CHINESE])
    assert written_without_spaces([said for said, _ in THAI])
    assert not written_without_spaces(["the cat 坐", "2020-01-01", "кошка", ""])


def test_an_answer_that_is_missing_is_an_empty_one() -> None:
    for name in scoring.METRICS:
        found = sentence_scores(name, ["a b c d", None], [["a b c d"], ["e f g h"]], np.arange(2), language="en")
        empty = sentence_scores(name, ["a b c d", ""], [["a b c d"], ["e f g h"]], np.arange(2), language="en")
        assert found.value() == empty.value() < (1 if name == "exact_match" else 100)
        with pytest.raises(ValueError, match="found 1 answers to 2 segments"):
            sentence_scores(name, ["a"], [["a"], ["b"]], np.arange(2), language="en")


LINES = "".join(f"source {n % 30}\ttarget {n}\n" for n in range(90))


def test_all_targets_of_a_source_are_its_references(tmp_path: Path) -> None:
    raw = translation_prepare.raw_lines(tmp_path / "raw", LINES.encode())
    store, data, _ = translation_prepare.prepared(raw, tmp_path / "prepared", split_by="source")
    segments = read_segments(store, data)
    assert len(segments) == len(set(segments.texts)) == len(store.rows("test")) / 3
    for text, references in zip(segments.texts, segments.references, strict=True):
        number = int(text.split()[1])
        assert references == [f"target {number + step}" for step in (0, 30, 60)]
    rows = store.rows("test")[segments.examples]
    assert [store.value("source_text", row) for row in rows] == segments.texts


@pytest.mark.parametrize("held_out", [True, False])
def test_a_pair_whose_others_are_elsewhere_or_of_a_publishers_test_set_is_scored_alone(
    tmp_path: Path, held_out: bool
) -> None:
    raw = tmp_path / "raw"
    if held_out:
        translation_prepare.held_out(raw, train=LINES, test="source x\tone\nsource x\ttwo\n")
    else:
        translation_prepare.raw_lines(raw, LINES.encode())
    split_by = "source" if held_out else "target"
    store, data, _ = translation_prepare.prepared(raw, tmp_path / "prepared", split_by=split_by)
    segments = read_segments(store, data)
    assert segments.references == [[store.value("target_text", row)] for row in store.rows("test")]
    assert segments.texts == [store.value("source_text", row) for row in store.rows("test")]
    assert len(np.unique(segments.groups)) == len(set(segments.texts)) < len(segments)
