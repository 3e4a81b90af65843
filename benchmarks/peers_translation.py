"""Our translators beside JoeyNMT's of the same size, for `peers.py`.

Both sides read the same tokens of Multi30k, English to German, and train as many epochs of the same first pairs with
AdamW at one learning rate, in float32, by the same budget of tokens a step with its padding. JoeyNMT takes the pairs in
random order; ours has those of like lengths in a batch. The first epoch is not counted: it holds what a first step
imports. Then both translate the same sentences of the validation split; BLEU says whether they have learned alike.
Neither side writes checkpoints.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.data.prepared import open_prepared
from stages.data.store import SequenceStore
from stages.tasks.translation.data.tokenizer import SPECIAL, load_tokenizers
from stages.tasks.translation.evaluate.scoring import scores

from . import data, peer_sides
from .data import Overlay
from .trainee import Trainee

EPOCHS, TRANSLATIONS = 4, 2  # turns of each kind
PAIRS, SENTENCES = 4000, 256
_QUICK_PAIRS, _QUICK_SENTENCES = 200, 8
_TRAIN: Overlay = {
    "ranks": 1,
    "threads": 1,
    "precision": "float32",
    "learning_rate": 0.001,
    "schedule": "constant",
    "warmup_fraction": 0.0,
    "weight_decay": 0.01,
    "max_grad_norm": 1.0,
    "ema_decay": 0.0,
    "choose": "last",
    "seed": 1,
}
# An LSTM whose embeddings are as wide as its state, the only ones that JoeyNMT can tie to its output layer.
KINDS: Mapping[str, tuple[str, Overlay]] = {  # recipe, and what is laid over it
    "Transformer": ("multi30k_transformer", {"train": _TRAIN}),
    "LSTM": ("multi30k", {"train": _TRAIN, "model": {"embedding_size": 512, "dropout": 0.3}}),
}


def compare(run: peer_sides.Run, kind: str) -> list[peer_sides.Row]:
    """A row for training and one for translating."""
    recipe, overlay = KINDS[kind]
    task, params = data.recipe_params(recipe, run.source / "multi30k", run.work)
    params = data.overlaid(params, overlay)
    epochs, translations = (2, 1) if run.quick else (EPOCHS, TRANSLATIONS)
    params = data.overlaid(params, {"train": {"epochs": epochs, "patience": epochs}})
    folder = data.prepared(task, params, run.work)
    pairs, sentences = (_QUICK_PAIRS, _QUICK_SENTENCES) if run.quick else (PAIRS, SENTENCES)
    files = written(folder, run.work / "peers" / f"{folder.name}-{pairs}-{sentences}", pairs, sentences)
    asked = {"params": params.model_dump(by_alias=True), "pairs": pairs, "sentences": sentences}
    ours = peer_sides.Side(module="peers_ours", arguments=["translation", str(folder), json.dumps(asked)])
    arguments = [str(files), json.dumps(settings(params))]
    joey = peer_sides.Side(module="peer_joeynmt", arguments=arguments, environment="joeynmt")
    own, others = peer_sides.beside(ours, {"JoeyNMT": joey}, run.work, epochs + translations)
    other = others["JoeyNMT"]
    names = [(f"{kind}: training", "target tokens/s"), (f"{kind}: translating, beam 5", "sentences/s")]
    if isinstance(other, str):
        return [peer_sides.missing_row(what, unit, "JoeyNMT", other) for what, unit in names]
    rows = []
    for (what, unit), turns in zip(names, (slice(1, epochs), slice(epochs, None)), strict=True):
        compared = peer_sides.row(
            what,
            unit,
            own.answers[turns],
            other.answers[turns],
            other.ready["version"],
            lambda answer: answer["tokens"] if "tokens" in answer else len(answer["translations"]),
        )
        rows.append(compared)
    rows[0]["note"] = f"{own.ready['weights']:,} and {other.ready['weights']:,} weights, " + " and ".join(
        f"{side.answers[0]['steps']} steps an epoch" for side in (own, other)
    )
    rows[1]["note"] = bleu(folder, own, other)
    return rows


def settings(params: Any) -> dict[str, Any]:
    """What JoeyNMT's configuration is made of, in our names."""
    model = params.model.model_dump()
    return {
        **{key: value for key, value in params.train.model_dump().items() if not isinstance(value, dict)},
        **{**model, "embedding_size": model["hidden_size"]},
        **params.evaluate.model_dump(),
    }


def written(prepared: Path, folder: Path, pairs: int, sentences: int) -> Path:
    """The pairs and sentences that both sides read, as files of JoeyNMT: tokens by their numbers, in a folder that is
    made where it is not there.
    """
    store, description = open_prepared(prepared)
    if not folder.is_dir():
        folder.mkdir(parents=True)
        size = description["source_vocabulary_size"]
        (folder / "vocabulary.txt").write_text("".join(f"{n}\n" for n in range(len(SPECIAL), size)), encoding="utf-8")
        for name, split, count in (("train", "train", pairs), ("test", "validation", sentences)):
            for side in ("source", "target"):
                lines = [" ".join(map(str, tokens)) for tokens in _tokens(store, side, split, count)]
                (folder / f"{name}.{side}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def _tokens(store: SequenceStore, side: str, split: str, count: int) -> list[list[int]]:
    return [store.sequence(side, row).tolist() for row in store.rows(split)[:count]]


def bleu(prepared: Path, *sides: Trainee) -> str:
    """BLEU and the mean number of tokens of each side's last translations, for a reader."""
    store, description = open_prepared(prepared)
    _, tokenizer = load_tokenizers(prepared, description)
    told = []
    for side in sides:
        answers = [_numbers(answer) for answer in side.answers[-1]["translations"]]
        references = [[text] for text in store.values("target_text", store.rows("validation")[: len(answers)])]
        texts = [tokenizer.decode(answer) for answer in answers]
        score = scores(texts, references, language=description["target_language"])["bleu"]
        told.append(f"BLEU {score:.1f} in {sum(map(len, answers)) / len(answers):.1f} tokens a sentence")
    return " and ".join(told)


def _numbers(tokens: Sequence[int | str]) -> list[int]:
    """JoeyNMT's tokens are our numbers as text, and its special ones are left out."""
    return [int(token) for token in tokens if isinstance(token, int) or token.isdigit()]
