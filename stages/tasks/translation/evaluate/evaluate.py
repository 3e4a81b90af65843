"""How good translations are: against references, the best possible, and two translators that learn nothing.

What is scored is a *segment*: see `segments.py` for which pairs of the test split are one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ....data.evenly import evenly
from ....data.prepared import open_prepared
from ....evaluation.bootstrap import Scores
from ....evaluation.calibration import calibration_figure, expected_calibration_error, reliability_bins
from ....evaluation.report import Report
from ....evaluation.slices import metric_by_slice, quarters, slices_figure
from ....progress_bar import busy
from ....training import distributed
from ....training.inference import map_batches
from ..data.tokenizer import MARK, load_tokenizers, without_mark
from ..model.network import SentencePairs, Translator
from ..model.translate import Translation, translate
from ..params import EvaluateParams, Params
from . import pictures
from .scoring import (
    METRICS,
    References,
    bleu_tokenizer,
    nearest_reference,
    scores,
    sentence_scores,
    signatures,
    written_without_spaces,
)
from .segments import read_segments

NEAREST_SENTENCES = 10_000  # training sources that the nearest is sought among, evenly taken
_DATES = "date"  # the source language of the sample, whose marks are locales
_TABLE_ROWS = 8  # of the best and as many of the worst translations
_N_BEST_SENTENCES, _N_BEST = 4, 5  # sentences of which more than one translation is shown, and how many


def evaluate(network: Translator, folder: Path, params: Params, report: Report) -> None:
    """Beam search on the test split; `exact_match`, `bleu`, `chrf`, the same by greedy search and for the baselines;
    `evaluate.metric` by length of the source and by its mark; `ece` of the translations' probabilities.
    """
    settings = params.evaluate
    store, data = open_prepared(folder)
    test, train = SentencePairs(store, "test"), SentencePairs(store, "train")
    tokenizers = load_tokenizers(folder, data)
    segments = read_segments(store, data)
    texts, references, examples = segments.texts, segments.references, segments.examples.tolist()
    language = data["target_language"]
    sources = [test.source(example) for example in examples]

    by_beam = {size: translate_split(network, sources, settings, size) for size in {1, settings.beam_size}}
    outputs = {size: [tokenizers[1].decode(best.tokens) for best in found] for size, found in by_beam.items()}
    translations, hypotheses = by_beam[settings.beam_size], outputs[settings.beam_size]
    groups = segments.groups
    with busy("scores of each sentence"):
        measured = {name: sentence_scores(name, hypotheses, references, groups, language=language) for name in METRICS}
    report.metric = settings.metric
    _tell_of_words_without_spaces(language, references)
    report.add_scores(measured)
    report.add_signatures(signatures(hypotheses, references, language=language))
    greedy = scores(outputs[1], references, language=language)
    report.add_metrics({f"greedy_{name}": value for name, value in greedy.items()}, n=len(segments))
    if data["best_possible_exact_match"] is not None:
        report.add_metrics({"best_possible_exact_match": data["best_possible_exact_match"]})

    known, known_targets = (store.column(name)[train.rows] for name in ("source_text", "target_text"))
    chosen = evenly(len(train), NEAREST_SENTENCES)
    baselines = {
        "copy": [without_mark(text) for text in texts],
    }
    with busy("baseline nearest"):
        baselines["nearest"] = nearest_translations(texts, known[chosen].tolist(), known_targets[chosen].tolist())
    for name, lines in baselines.items():
        reached = scores(lines, references, language=language)
        report.add_metrics({f"baseline_{name}_{key}": value for key, value in reached.items()})

    tokens = [translation.tokens for translation in translations]
    nearest = list(map(nearest_reference, hypotheses, references))
    report.write_predictions(
        [len(test.target(example)) for example in examples],
        list(map(len, tokens)),
        id=[test.name(example) for example in examples],
        source=texts,
        reference=[text for text, _ in nearest],
        translation=hypotheses,
        chrf=[score for _, score in nearest],
        score=[translation.score for translation in translations],
    )
    lengths = test.lengths[segments.examples]
    _report_slices(report, measured[settings.metric], lengths, texts, dates=data["source_language"] == _DATES)
    _report_calibration(report, translations, measured["exact_match"].statistics[:, 0], settings.length_penalty)
    attention = pictures.alignments(network, sources, tokens, texts, tokenizers, count=settings.pictures)
    report.save_figure("attention", attention)
    report.save_figure("translations", pictures.translations(texts, references, hypotheses, nearest, rows=_TABLE_ROWS))
    shown = pictures.alphabetically(texts, _N_BEST_SENTENCES)
    n_best = min(settings.beam_size, _N_BEST)
    found = _search(network, [sources[i] for i in shown], settings, settings.beam_size, n_best=n_best)
    lists = [[(tokenizers[1].decode(one.tokens), one.score) for one in best] for best in found]
    report.save_figure("n_best", pictures.n_best([texts[i] for i in shown], [references[i] for i in shown], lists))


def _tell_of_words_without_spaces(language: str, references: References) -> None:
    if distributed.rank() == 0 and bleu_tokenizer(language) == "13a":
        texts = [first for first, *_ in references]
        if written_without_spaces(texts):
            print(
                f"unroll: evaluate translation: source.target_language is {language}, so BLEU looks for words between "
                f"spaces, and the references, such as {texts[0][:30]!r}, have none; name their language: zh, ja, th, …"
            )


def _report_slices(report: Report, measured: Scores, lengths: np.ndarray, texts: Sequence[str], *, dates: bool) -> None:
    which, names = quarters(lengths)
    parts = metric_by_slice(measured, "source tokens", which, names, higher_is_better=True)
    marks = [MARK.match(text) for text in texts]
    if all(marks):
        found, which = np.unique([mark.group(1) for mark in marks if mark], return_inverse=True)
        parts += metric_by_slice(measured, "locale" if dates else "mark", which, found.tolist(), higher_is_better=True)
    report.write_slices(parts)
    name = report.metric.replace("_", " ")
    highest = 1.0 if report.metric == "exact_match" else 100.0
    report.save_figure("slices", slices_figure(parts, measured.value(), name, highest=highest))


def _report_calibration(
    report: Report, translations: Sequence[Translation], right: np.ndarray, length_penalty: float
) -> None:
    # A score is a sum over the tokens and the end, divided by their number to the power of the penalty.
    probabilities = np.exp([one.score * (len(one.tokens) + 1) ** length_penalty for one in translations])
    calibrated = reliability_bins(probabilities, right)
    report.write_calibration(calibrated)
    report.add_metrics({"ece": expected_calibration_error(calibrated)})
    figure = calibration_figure(
        calibrated,
        expected="probability of the translation, by its score",
        observed="translations that are a reference",
        title=f"Expected calibration error {report.metrics['ece']:.3f} on {len(translations):,} sentences",
    )
    report.save_figure("calibration", figure)


def nearest_translations(texts: Sequence[str], known: Sequence[str], translations: Sequence[str]) -> list[str]:
    """For each text the translation of the most alike of the known sources: cosine of TF-IDF weighted character
    trigrams and bigrams; of equally alike ones the first.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(2, 3), dtype=np.float32)
    columns = vectorizer.fit_transform(known).T.tocsr()
    rows = vectorizer.transform(texts)
    best: list[str] = []
    for start in range(0, rows.shape[0], 256):
        alike = (rows[start : start + 256] @ columns).toarray()
        best.extend(translations[place] for place in alike.argmax(axis=1))
    return best


def translate_split(
    network: Translator, sources: Sequence[np.ndarray], params: EvaluateParams, beam_size: int
) -> list[Translation]:
    """The best translation of each source `(time,)`, in their order; ranks share the work."""

    def best(examples: np.ndarray) -> list[Translation]:
        return [n_best[0] for n_best in _search(network, [sources[e] for e in examples], params, beam_size, n_best=1)]

    lengths = np.array([len(source) for source in sources])
    by_example: dict[int, Translation] = {}
    for examples, translations in map_batches(lengths, params.batch_size, best, title=f"translate, beam {beam_size}"):
        by_example.update(zip(examples.tolist(), translations, strict=True))
    return [by_example[example] for example in range(len(sources))]


def _search(
    network: Translator, sources: Sequence[np.ndarray], params: EvaluateParams, beam_size: int, *, n_best: int
) -> list[list[Translation]]:
    return translate(
        network,
        sources,
        beam_size=beam_size,
        max_length=params.max_length,
        batch_size=len(sources),
        length_penalty=params.length_penalty,
        n_best=n_best,
    )
