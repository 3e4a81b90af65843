"""How good translations are: against references, the best possible, and two translators that learn nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sacrebleu.metrics import BLEU, CHRF

from ....engine import spread
from ....preparation import open_prepared
from ....reporting import Report
from ..model.network import Pairs, Translator
from ..model.translate import translate
from ..params import EvaluateParams, Params
from ..prepare.tokenizer import load_tokenizer, without_mark
from . import pictures

NEAREST_SENTENCES = 10_000  # training sources that the nearest is sought among, evenly taken
_TABLE_ROWS = 8  # of the best and as many of the worst translations


def evaluate(network: Translator, folder: Path, params: Params, report: Report) -> None:
    """Beam search on the test split; `exact_match`, `bleu`, `chrf`, the same by greedy search and for the baselines."""
    store, data = open_prepared(folder)
    test, train = Pairs(store, "test"), Pairs(store, "train")
    source_tokenizer, target_tokenizer = (load_tokenizer(data["tokenizer"], folder / name) for name in data["assets"])
    texts, references = (store.column(name)[test.rows].tolist() for name in ("source_text", "target_text"))
    sources = [test.source(example) for example in range(len(test))]

    found = {size: _translated(network, sources, params.evaluate, size) for size in {1, params.evaluate.beam_size}}
    outputs = {size: [target_tokenizer.decode(tokens) for tokens in answers] for size, answers in found.items()}
    answers, answer_texts = found[params.evaluate.beam_size], outputs[params.evaluate.beam_size]
    report.measured(scores(answer_texts, references), n=len(test))
    report.measured({f"greedy_{name}": value for name, value in scores(outputs[1], references).items()})
    if data["best_possible_exact_match"] is not None:
        report.measured({"best_possible_exact_match": data["best_possible_exact_match"]})

    known, known_targets = (store.column(name)[train.rows] for name in ("source_text", "target_text"))
    chosen = np.linspace(0, len(train) - 1, min(len(train), NEAREST_SENTENCES)).round().astype(np.int64)
    baselines = {
        "copy": [without_mark(text) for text in texts],
        "nearest": nearest_translations(texts, known[chosen].tolist(), known_targets[chosen].tolist()),
    }
    for name, lines in baselines.items():
        report.measured({f"baseline_{name}_{key}": value for key, value in scores(lines, references).items()})

    lengths = (len(test.target(example)) for example in range(len(test)))
    report.predictions(zip(lengths, (len(tokens) for tokens in answers), strict=True))
    tokenizers = source_tokenizer, target_tokenizer
    drawn = pictures.alignments(network, sources, answers, texts, tokenizers, count=params.evaluate.pictures)
    report.picture("attention", drawn)
    report.picture("translations", pictures.translations(texts, references, answer_texts, rows=_TABLE_ROWS))


def scores(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """`exact_match` (0 to 1); sacreBLEU's `bleu` and `chrf` (0 to 100) by its defaults: cased, 13a, one reference."""
    equal = sum(hypothesis == reference for hypothesis, reference in zip(hypotheses, references, strict=True))
    return {
        "exact_match": equal / len(references),
        "bleu": BLEU().corpus_score(hypotheses, [references]).score,
        "chrf": CHRF().corpus_score(hypotheses, [references]).score,
    }


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


def _translated(
    network: Translator, sources: Sequence[np.ndarray], params: EvaluateParams, beam_size: int
) -> list[list[int]]:
    def answers(examples: np.ndarray) -> list[list[int]]:
        some = [sources[example] for example in examples]
        found = translate(network, some, beam_size=beam_size, max_length=params.max_length, batch_size=len(some))
        return [translation.tokens for translation in found]

    lengths = np.array([len(source) for source in sources])
    parts = spread(lengths, params.batch_size, answers, title=f"translate, beam {beam_size}")
    tokens: list[list[int]] = [[] for _ in sources]
    for examples, part in parts:
        for example, answer in zip(examples.tolist(), part, strict=True):
            tokens[example] = answer
    return tokens
