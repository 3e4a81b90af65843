"""What the registered translator answers, and what it refuses, and what evaluation reports."""

from __future__ import annotations

import csv
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sacrebleu.metrics import CHRF

from stages.data.prepared import open_prepared
from stages.evaluation.report import Report
from stages.models.weights import save_network
from stages.preprocessing.preparation import Preparation
from stages.registry.packaging import signature
from stages.serving.predictor import InvalidRows
from stages.tasks.translation.data.tokenizer import START, SubwordTokenizer
from stages.tasks.translation.evaluate.evaluate import evaluate, nearest_translations
from stages.tasks.translation.evaluate.pictures import alignments, drawable, translations
from stages.tasks.translation.evaluate.scoring import nearest_reference, scores
from stages.tasks.translation.model.network import Translator, build
from stages.tasks.translation.model.translate import Translation
from stages.tasks.translation.params import EvaluateParams, ModelParams, PrepareParams, SourceParams
from stages.tasks.translation.prepare.prepare import prepare
from stages.tasks.translation.serve.predictor import Predictor
from stages.tasks.translation.source.download import download

pytestmark = pytest.mark.usefixtures("one_thread")

SOURCE = SourceParams(
    kind="sample", url="", source_language="en", target_language="de", pairs=300, seed=1, also=[], also_test=False
)
PREPARE = PrepareParams(
    encoding="auto",
    tokenizer="character",
    shared_vocabulary=False,
    vocabulary_size=500,
    max_source_tokens=64,
    max_target_tokens=32,
    group="",
    split_by="target",
    validation_share=0.1,
    test_share=0.2,
    seed=1,
    max_rejected_share=0.1,
)
MODEL = ModelParams(
    kind="rnn",
    cell="gru",
    embedding_size=8,
    hidden_size=8,
    encoder_layers=1,
    decoder_layers=1,
    attention="dot",
    input_feeding=False,
    heads=2,
    feedforward_size=16,
    tied_embeddings="target",
    dropout=0.0,
    recurrent_dropout=0.0,
    layer_norm=False,
    label_smoothing=0.0,
    scheduled_sampling=0.0,
)


def untrained(root: Path, params: PrepareParams, model: ModelParams = MODEL) -> tuple[Path, Path]:
    """The prepared folder and the weights folder of an untrained network."""
    (root / "raw").mkdir()
    download(SOURCE, root / "raw")
    with Preparation(root / "prepared", max_rejected_share=0.1) as output:
        prepare(root / "raw", params, output)
    _, data = open_prepared(root / "prepared")
    torch.manual_seed(0)
    save_network(root / "weights", build(model, data), model, data, prepared=root / "prepared", training={})
    return root / "prepared", root / "weights"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return untrained(tmp_path_factory.mktemp("translation"), PREPARE)


@pytest.fixture(scope="module")
def predictor(folders: tuple[Path, Path]) -> Predictor:
    return Predictor(folders[1])


@pytest.fixture(scope="module")
def subword_predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """One with a shared vocabulary of subwords."""
    params = PREPARE.model_copy(update={"tokenizer": "subword", "shared_vocabulary": True, "vocabulary_size": 120})
    return Predictor(untrained(tmp_path_factory.mktemp("subwords"), params)[1])


def ask(predictor: Predictor, *texts: object, **options: Any) -> pd.DataFrame:
    # Objects: a column of strings holds no half surrogates.
    return predictor.predict(pd.DataFrame({"text": pd.Series(list(texts), dtype=object)}), **options)


def test_a_text_gets_a_translation_and_a_score(predictor: Predictor) -> None:
    answer = ask(predictor, "<en_US> March 5, 1999", "<de> 5. März 1999", max_length=12)
    assert list(answer.columns) == ["translation", "score"]
    assert answer["translation"].map(lambda text: isinstance(text, str) and len(text) <= 12).all()
    assert (answer["score"] < 0).all()


def test_beam_search_scores_no_lower_than_greedy(predictor: Predictor) -> None:
    texts = [f"<en_US> March {n}, 1999" for n in range(1, 29)]
    greedy, beam = ask(predictor, *texts, beam_size=1, max_length=12), ask(predictor, *texts, max_length=12)
    assert (beam["score"] >= greedy["score"] - 1e-5).all()


def test_more_than_one_translation_is_given_where_asked_for(predictor: Predictor) -> None:
    texts = [f"<en_US> March {n}, 1999" for n in range(1, 5)]
    one = ask(predictor, *texts, max_length=12)
    three = ask(predictor, *texts, None, max_length=12, n_best=3, on_error="report")
    assert list(three.columns) == ["translation", "score", "n_best_translations", "n_best_scores", "error"]
    assert three["translation"][:4].tolist() == one["translation"].tolist()
    for row in three[:4].to_dict("records"):
        translations, found = row["n_best_translations"], row["n_best_scores"]
        assert (translations[0], found[0]) == (row["translation"], row["score"])
        assert len(translations) == len(found) == 3
        assert found == sorted(found, reverse=True)
    assert three["n_best_scores"].isna().tolist() == [False] * 4 + [True]


def test_attention_is_given_where_asked_for(predictor: Predictor) -> None:
    """The weights are those that the network's own search reads, step by step, worked out here for one text."""
    texts = ["<en_US> March 5, 1999", "<de> 5. März 1999", "<fr> 5 mars 1999 "]
    plain = ask(predictor, *texts, max_length=12)
    answer = ask(predictor, *texts, None, max_length=12, attention=True, on_error="report")
    assert list(answer.columns) == ["translation", "score", "tokens", "attention", "error"]
    assert answer["translation"][:3].tolist() == plain["translation"].tolist()
    assert answer[["tokens", "attention"]].isna().all(axis=1).tolist() == [False] * 3 + [True]
    for text, row in zip(texts, answer[:3].to_dict("records"), strict=True):
        source, target = row["tokens"]
        assert (source[0], "".join(source)) == (text.partition(" ")[0], text.strip())
        assert "".join(target) == row["translation"]
        weights = np.array(row["attention"])
        assert weights.shape == (len(target), len(source))
        assert np.allclose(weights.sum(axis=1), 1.0, atol=1e-5)
    network = predictor._network
    sources = torch.tensor([predictor._source.encode(texts[1])])
    written = predictor._target.encode(answer["translation"][1])
    with torch.inference_mode():
        memory, state = network.encode(sources, torch.tensor([sources.shape[1]]))
        decoder: Any = network.decoder
        decoded, _ = decoder(
            network.target_embedding(torch.tensor([[START, *written[:-1]]])), state["hidden"][:, 0].transpose(0, 1)
        )
        by_hand = (decoded @ memory["values"].transpose(1, 2)).softmax(dim=-1)[0]
    assert np.allclose(answer["attention"][1], by_hand, atol=1e-5)


def test_attention_does_not_depend_on_what_is_asked_beside_it(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"<en_US> March {n}, 1999" for n in range(1, 8)] + ["<de> 1.1.1999"]
    options = {"max_length": 9, "attention": True}
    together = ask(predictor, *texts, **options)
    monkeypatch.setattr("stages.tasks.translation.serve.predictor._BATCH_PAIRS", 500)  # three at a time
    parted = ask(predictor, *texts, **options)
    for one, other in zip(together["attention"], parted["attention"], strict=True):
        assert np.allclose(one, other, atol=1e-5)
    both = ask(predictor, texts[0], **options, n_best=2)
    assert list(both.columns)[2:] == ["n_best_translations", "n_best_scores", "tokens", "attention"]
    assert both["tokens"][0] == together["tokens"][0]


def test_subwords_are_named_as_they_are_read(subword_predictor: Predictor) -> None:
    row = ask(subword_predictor, "5 1999", max_length=6, attention=True).iloc[0]
    source, target = row["tokens"]
    assert "".join(source) == "▁5▁1999"
    assert np.array(row["attention"]).shape == (len(target), len(source))


@pytest.mark.parametrize("change", [{"attention": "none"}, {"kind": "transformer"}, {"input_feeding": True}], ids=str)
def test_a_version_names_attention_where_it_has_some(
    folders: tuple[Path, Path], change: dict[str, Any], tmp_path: Path
) -> None:
    params = MODEL.model_copy(update=change)
    _, data = open_prepared(folders[0])
    torch.manual_seed(0)
    save_network(tmp_path, build(params, data), params, data, prepared=folders[0], training={})
    found = signature(Predictor, {}, unavailable=Predictor.unavailable(tmp_path))
    has = change != {"attention": "none"}
    assert ("attention" in [param.name for param in found.params]) == has
    assert ({"tokens", "attention"} <= set(found.outputs.input_names())) == has
    predictor = Predictor(tmp_path)
    if has:
        row = ask(predictor, "<de> 5.3.1999", max_length=6, attention=True).iloc[0]
        assert np.allclose(np.sum(row["attention"], axis=1), 1.0, atol=1e-5)
        return
    assert ask(predictor, "<de> 5.3.1999", max_length=6)["translation"].notna().all()
    with pytest.raises(ValueError, match=r"attention: found true; allowed: false, as this model has none"):
        ask(predictor, "<de> 5.3.1999", attention=True)


def test_attention_is_true_or_false(predictor: Predictor) -> None:
    with pytest.raises(ValueError, match="attention: found 'yes'; allowed: true, false"):
        ask(predictor, "<de> 5.3.1999", attention="yes")
    with pytest.raises(ValueError, match="attention: found 'false'; allowed: true, false"):
        predictor.predict(pd.DataFrame({"text": [""]}), on_error="report", attention="false")  # no row can be answered


def test_a_length_penalty_of_0_scores_by_the_sum(predictor: Predictor) -> None:
    text = "<en_US> March 5, 1999"
    (mean,) = ask(predictor, text, beam_size=1, max_length=12)["score"]
    (total,) = ask(predictor, text, beam_size=1, max_length=12, length_penalty=0)["score"]
    characters = len(ask(predictor, text, beam_size=1, max_length=12)["translation"][0])
    assert total == pytest.approx(mean * (characters + 1), rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "beam_size", "max_length", "sentences"),
    [
        *(("rnn", 5, 100, 256), ("rnn", 1, 7, 256), ("rnn", 10, 100, 128), ("rnn", 32, 1000, 4)),
        *(("transformer", 5, 100, 64), ("transformer", 1, 7, 64), ("transformer", 32, 1000, 1)),
    ],
)
def test_large_options_take_no_more_memory_at_a_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, beam_size: int, max_length: int, sentences: int
) -> None:
    asked: list[int] = []

    def translate(network: Translator, sources: list[np.ndarray], **options: Any) -> list[list[Translation]]:
        asked.append(options["batch_size"])
        return [[Translation([5], -1.0)] for _ in sources]

    model = ModelParams.model_validate({**MODEL.model_dump(), "kind": kind})
    predictor = Predictor(untrained(tmp_path, PREPARE, model)[1])
    monkeypatch.setattr("stages.tasks.translation.serve.predictor.translate", translate)
    ask(predictor, "5", "6", beam_size=beam_size, max_length=max_length)
    assert asked == [sentences]


REFUSED = [
    ("", "found 0 characters, none of them to translate"),
    (" \u00a0\u200b\n", "found 4 characters, none of them to translate"),
    ("\x00\x1b", "found 2 characters, none of them to translate"),
    ("5" * 65, "found 65 tokens in 65 characters; allowed: 1 to 64 tokens"),
    ("5" * 10_000, "found 10000 characters; allowed: 6400, of which this model reads 64 tokens"),
    (None, "found no value; allowed: a string"),
    (float("nan"), "found no value; allowed: a string"),
    (7.5, "found float; allowed: a string"),
]


@pytest.mark.parametrize(("text", "reason"), REFUSED)
def test_texts_that_cannot_be_translated_are_refused_in_words(predictor: Predictor, text: object, reason: str) -> None:
    with pytest.raises(InvalidRows, match=reason):
        ask(predictor, text)


ODD = {
    "an unseen script": "猫が好き",
    "right to left": "مرحبا بالعالم",
    "control characters": "a\x00b\x1b[31m\x07",
    "half a surrogate pair": "a\ud83db",
    "accents without a letter": "\u0301" * 50,
    "a letter with thousands of accents": "a" + "\u0301\u0316" * 3000,
    "special tokens, spelt out": "</s><pad><unk><s>",
    "a joined emoji": "👩‍👩‍👧‍👦" * 9,
    "thousands of unknown characters": "猫" * 6400,
    "as many as may be asked": "5" * 6400,
    "thousands of spaces between two letters": "a" + " \u3000" * 3000 + "b",
    "10,000 characters": "the dog " * 1250,
    "a million characters": "a" * 1_000_000,
    "a million accents": "\u0301\u0316" * 500_000,
    "only what cannot be seen": "\u200b\u2028\ufeff" * 1000,
    "no text": "",
    "marks and markup": "<en_US><b>5</b> &amp; $5^{5}$ \\n %s {0} '; DROP TABLE --",
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("kind", ["predictor", "subword_predictor"])
def test_odd_texts_get_a_bounded_answer_or_a_reason_and_take_no_time(
    kind: str, odd: str, request: pytest.FixtureRequest
) -> None:
    predictor: Predictor = request.getfixturevalue(kind)
    started = time.process_time()
    answer = ask(predictor, ODD[odd], max_length=7, on_error="report").iloc[0]
    seconds = time.process_time() - started
    assert seconds < 0.5
    if pd.isna(answer["error"]):
        assert isinstance(answer["translation"], str)
        assert answer["score"] < 0
    else:
        assert pd.isna(answer["translation"])
        assert re.match(r"text: found \d+ .*; allowed: ", answer["error"])


def test_bad_rows_do_not_change_the_others(predictor: Predictor) -> None:
    good = ask(predictor, "<de> 5.3.1999", max_length=12)
    mixed = ask(predictor, "", "<de> 5.3.1999", None, on_error="report", max_length=12)
    assert mixed["translation"][1] == good["translation"][0]
    assert mixed["error"].notna().tolist() == [True, False, True]
    assert mixed["translation"].isna().tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"beam_size": 0}, "beam_size: found 0; allowed: a whole number from 1 to 32"),
        ({"beam_size": 1.5}, "beam_size: found 1.5"),
        ({"n_best": 6}, "n_best: found 6; allowed: a whole number from 1 to 5"),
        ({"length_penalty": -1}, "length_penalty: found -1; allowed: a number from 0 to 2"),
        ({"length_penalty": float("nan")}, "length_penalty: found nan"),
        ({"max_length": 100_000}, "max_length: found 100000; allowed: a whole number from 1 to 1000"),
    ],
)
def test_options_out_of_range_are_refused(predictor: Predictor, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ask(predictor, "<de> 5.3.1999", **options)


def test_the_nearest_source_lends_its_translation() -> None:
    known = ["a red dog", "a blue house", "the green river"]
    answers = nearest_translations(["the red dogs", "green rivers", "zzz"], known, ["Hund", "Haus", "Fluss"])
    assert answers == ["Hund", "Fluss", "Hund"]  # where nothing is alike, the first


def test_pictures_use_only_characters_that_their_font_can_write() -> None:
    assert drawable("<ru> 5 марта, 1999 – ß")
    assert not drawable("1999年")
    assert not drawable("مارس")


def test_a_table_of_translations_has_whole_sentences_and_the_nearest_reference() -> None:
    long = "A man in an orange hat " + "starring at something " * 5 + "far away."
    references = [["Er lacht.", "Ein Mann starrt in die Ferne."], ["Der Hund bellt."], ["$5"]]
    outputs = ["Ein Mann starrt.", "Der Hund bellt.", "$6"]
    nearest = [nearest_reference(said, allowed) for said, allowed in zip(outputs, references, strict=True)]
    assert nearest[0] == ("Ein Mann starrt in die Ferne.", CHRF().sentence_score(outputs[0], references[0]).score)
    (axes,) = translations([long, "A dog barks.", "$5"], references, outputs, nearest, rows=8).axes
    cells = axes.tables[0].get_celld()
    texts = {cell.get_text().get_text().replace("\n", " ") for cell in cells.values()}
    assert {long, "Ein Mann starrt in die Ferne. (nearest of 2)", "Der Hund bellt.", r"\$5"} <= texts
    heights = {row: cell.get_height() for (row, _), cell in cells.items()}
    assert max(heights.values()) > 2 * min(heights.values())  # the long sentence's row has its lines


def test_a_picture_of_attention_names_words_and_what_goes_on_with_them() -> None:
    tokenizer = SubwordTokenizer.train(["the dog runs. the do 5$"] * 10, size=60)
    torch.manual_seed(0)
    sizes = {"source_vocabulary_size": tokenizer.size, "target_vocabulary_size": tokenizer.size}
    source = tokenizer.encode("the runs 5$.")
    drawn = alignments(
        build(MODEL, sizes).eval(),
        [np.array(source)],
        [tokenizer.encode("the.")],
        ["the runs 5$."],
        (tokenizer,) * 2,
        count=3,
    )
    (axes,) = drawn.axes
    read, written = (
        [label.get_text() for label in labels] for labels in (axes.get_xticklabels(), axes.get_yticklabels())
    )
    assert written == ["the", ".", "</s>"]
    assert "".join(read).replace("+", "") == r"theruns5\$."
    assert sum(not label.startswith("+") for label in read) == len(["the", "runs", "5", "$", "."])


def test_evaluation_reports_metrics_baselines_and_pictures(folders: tuple[Path, Path], tmp_path: Path) -> None:
    prepared, _ = folders
    store, data = open_prepared(prepared)
    torch.manual_seed(0)
    network = build(MODEL, data).eval()
    assert isinstance(network, Translator)

    class WholeParams:
        evaluate = EvaluateParams(
            metric="chrf", ranks=1, beam_size=2, max_length=14, length_penalty=1.0, batch_size=32, pictures=2
        )

    report = Report(tmp_path)
    evaluate(network, prepared, WholeParams(), report)  # type: ignore[arg-type]
    for name in ("exact_match", "bleu", "chrf"):
        assert {name, f"greedy_{name}", f"baseline_copy_{name}", f"baseline_nearest_{name}"} <= report.metrics.keys()
    assert report.metrics["best_possible_exact_match"] == round(data["best_possible_exact_match"], 6)
    test = store.rows("test")
    texts, targets = (store.column(name)[test] for name in ("source_text", "target_text"))
    copied = sum(text.partition("> ")[2] == target for text, target in zip(texts, targets, strict=True)) / len(test)
    assert copied > 0
    assert report.metrics["baseline_copy_exact_match"] == pytest.approx(copied, abs=1e-6)
    assert report.metrics["baseline_nearest_exact_match"] == 0  # no date of the test set is in training
    assert report.n == len(test)
    with (tmp_path / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["source"] for row in rows] == texts.tolist()
    assert [row["reference"] for row in rows] == targets.tolist()
    assert {row["actual"] for row in rows} == {"10"}
    assert all(int(row["predicted"]) <= 14 for row in rows)
    said = [row["translation"] for row in rows]
    assert scores(said, [[target] for target in targets], language="de")["chrf"] == pytest.approx(
        report.metrics["chrf"], abs=1e-6
    )
    assert all(float(row["score"]) < 0 <= float(row["chrf"]) <= 100 for row in rows)
    drawn = {path.stem for path in (tmp_path / "pictures").iterdir()}
    assert drawn == {"attention", "calibration", "n_best", "slices", "translations"}
    assert {part.slice for part in report.slices} == {"source tokens", "locale"}
    assert report.metric == "chrf"  # slices, card and gate follow it
    worst, best = (pick(part.metric for part in report.slices) for pick in (min, max))
    assert 1.0 < worst <= report.metrics["chrf"] <= best
    assert report.metrics["exact_match"] < 1.0
    for kind in ("source tokens", "locale"):
        assert sum(part.n for part in report.slices if part.slice == kind) == len(test)
    assert report.signatures["bleu"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|")
    assert report.signatures["chrf"].startswith("nrefs:1|case:mixed|")
    assert report.metrics["bleu_low"] <= report.metrics["bleu"] <= report.metrics["bleu_high"]
