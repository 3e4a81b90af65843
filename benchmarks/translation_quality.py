"""What each choice in a translator is worth: one table on Multi30k, English to German.

    python -m benchmarks.translation_quality                      all rows, seven trainings; some 80 minutes
    python -m benchmarks.translation_quality "no attention"       some rows, beside the base row
    python -m benchmarks.translation_quality --quick              a few pairs, to see that it runs; numbers say nothing

Each row is a recipe with a few params changed. It is trained for as many epochs as `--minutes` allow by its own rate,
which is measured first, so that every row's learning rate has come down when its time is over. All rows are scored on
the sentences that are held back from the recipe's training file (its validation split), on which each training also
chooses its best epoch. The publisher's validation set, the recipe's test split, is not touched: it is for the recipes
themselves, `python -m benchmarks.real_data multi30k --data FOLDER`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stages.data.prepared import open_prepared
from stages.models.weights import load_network
from stages.provenance.hashes import code_md5
from stages.tasks.translation.data.tokenizer import load_tokenizers
from stages.tasks.translation.evaluate.evaluate import translate_split
from stages.tasks.translation.evaluate.scoring import sentence_scores, signatures
from stages.tasks.translation.evaluate.segments import Segments, read_segments
from stages.tasks.translation.model.network import SentencePairs, build
from stages.tasks.translation.params import ModelParams
from stages.training import distributed

from . import data, quality
from .data import Overlay
from .quality import Cell, Row, Trial

_MEASURED = "validation"  # the split that rows are scored on
_SEARCH_CODE = "stages.tasks.translation.model.translate"
_QUICK = 20  # segments that are translated with --quick
BASE: Overlay = {
    "model": {"attention": "general", "input_feeding": False, "scheduled_sampling": 0.0, "label_smoothing": 0.1},
    "evaluate": {"beam_size": 5},
}


def measured(trial: Trial, *, split: str = _MEASURED) -> Mapping[str, Cell]:
    """BLEU and chrF of the network's translations of a split, and what it cost to train and to ask."""
    home, training = trial.trained()
    store, description = open_prepared(trial.folder)
    segments = read_segments(store, description, split)
    if trial.quick:
        segments = segments.only(np.arange(_QUICK))
    facts = {
        "network": home.name,
        "split": split,
        "code": code_md5([_SEARCH_CODE]),
        "evaluate": trial.params.evaluate.model_dump(),
    }
    answers = data.kept(trial.work / "translations", facts, lambda: _translations(trial, home, segments, split))
    language, groups = description["target_language"], segments.groups
    bleu, chrf = (
        sentence_scores(name, answers["translations"], segments.references, groups, language=language)
        for name in ("bleu", "chrf")
    )
    tokens = int((store.lengths("target")[store.rows("train")] + 1).sum())  # the end tokens, too
    signature = signatures(answers["translations"], segments.references, language=language)["bleu"]
    return {
        "BLEU": bleu,
        "chrF": chrf,
        "epochs": f"{training['epochs']}, best {training['best_epoch']}",
        "training, min": training["training_seconds"] / 60,
        "target tokens/s": round(training["epochs"] * tokens / training["seconds"]),
        "sentences/s": len(segments) / answers["seconds"],
        "sentences": len(segments),
        "signature": signature,
    }


def _translations(trial: Trial, home: Path, segments: Segments, split: str) -> dict[str, Any]:
    """The translations, one a segment, and the seconds that they took."""
    params = trial.params
    distributed.configure(seed=params.train.seed, threads=params.train.ranks * params.train.threads)
    network, description = load_network(home, build, ModelParams)
    pairs = SentencePairs(open_prepared(trial.folder)[0], split)
    sources = [pairs.source(example) for example in segments.examples.tolist()]
    started = time.perf_counter()
    found = translate_split(network, sources, params.evaluate, params.evaluate.beam_size)
    seconds = time.perf_counter() - started
    _, target = load_tokenizers(trial.folder, description)
    return {"translations": [target.decode(answer.tokens) for answer in found], "seconds": seconds}


def _row(name: str, model: Overlay, evaluate: Overlay) -> Row:
    overlay = {"model": {**BASE["model"], **model}, "evaluate": {**BASE["evaluate"], **evaluate}}
    return Row(name=name, recipe="multi30k", overlay=overlay, measure=measured)


ROWS = (
    _row("general attention, beam 5", {}, {}),
    _row("no attention", {"attention": "none"}, {}),
    _row("additive attention", {"attention": "additive"}, {}),
    _row("input feeding", {"input_feeding": True}, {}),
    _row("beam 1", {}, {"beam_size": 1}),
    _row("beam 10", {}, {"beam_size": 10}),
    _row("scheduled sampling", {"scheduled_sampling": 0.25}, {}),
    _row("no label smoothing", {"label_smoothing": 0.0}, {}),
    Row(name="transformer", recipe="multi30k_transformer", measure=measured),
)

if __name__ == "__main__":
    quality.main("translation_quality", __doc__, ROWS, host="multi30k", minutes=10.0, compared="BLEU")
