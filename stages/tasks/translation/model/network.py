"""The translator of the kind that params name, and its batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ....data.store import FILE_NAME, SequenceStore, Split
from ....models.batch import Batch, pad
from ....models.learned import Identities, Learned
from ..data.tokenizer import END, START
from ..params import ModelParams, Params
from .recurrent import RecurrentTranslator
from .scheduled_sampling import ScheduledSampling
from .transformer import TransformerTranslator
from .translator import Translator

__all__ = ["SentencePairs", "Translator", "build", "dataset", "identities", "learned", "make_batch"]


class SentencePairs:
    """The sentence pairs of a split, or of several, to learn from with `sampling` where it is given.

    A pair is as long as its source or, with `longer_side`, as the longer of source and target: batches by a budget of
    tokens then keep to it on both sides. (Sorted by the source alone, a third of the targets' steps would be padding.)
    """

    def __init__(
        self,
        store: SequenceStore,
        split: Split,
        *,
        sampling: ScheduledSampling | None = None,
        longer_side: bool = False,
    ) -> None:
        self._store = store
        self._sampling = sampling
        self.rows = store.rows(split)
        self.lengths = store.column("length")[self.rows]
        if longer_side:
            self.lengths = np.maximum(self.lengths, store.lengths("target")[self.rows] + 1)  # and the end token

    def __len__(self) -> int:
        return len(self.rows)

    def name(self, example: int) -> str:
        return str(self._store.value("id", self.rows[example]))

    def source(self, example: int) -> np.ndarray:
        return self._store.sequence("source", self.rows[example])

    def target(self, example: int) -> np.ndarray:
        return self._store.sequence("target", self.rows[example])

    def batch(self, examples: np.ndarray, *, epoch: int | None = None) -> Batch:
        """See `make_batch`; with an `epoch` and scheduled sampling, `context` also holds `replaced`, `(batch, target
        time)` bool: the inputs in whose place the network reads its own tokens.
        """
        batch = make_batch([self.source(e) for e in examples], [self.target(e) for e in examples])
        if epoch is None or self._sampling is None or not self._sampling.share(epoch):
            return batch
        steps = batch.context["previous"].shape[1]
        replaced = torch.from_numpy(self._sampling.replaced(examples, steps, epoch=epoch))
        return replace(batch, context={**batch.context, "replaced": replaced})


def make_batch(sources: list[np.ndarray], targets: list[np.ndarray]) -> Batch:
    """Token arrays `(time,)` as one batch: `targets` end with the end token; `previous`, which the decoder reads, begin
    with the start token.
    """
    values, lengths = pad(sources, dtype=np.int64)
    following, _ = pad([np.append(target, END) for target in targets], dtype=np.int64)
    previous, _ = pad([np.insert(target, 0, START) for target in targets], dtype=np.int64)
    return Batch(values=values, lengths=lengths, targets=following, context={"previous": previous})


def build(params: ModelParams, data: Mapping[str, Any]) -> Translator:
    """A translator with fresh weights for the vocabularies that `data` describes.

    Raises ValueError where params tie the embeddings of vocabularies that are not one.
    """
    if params.tied_embeddings == "all" and not data["shared_vocabulary"]:
        raise ValueError(
            "translation.model.tied_embeddings: found all; allowed where each language has a vocabulary of its own "
            "(translation.prepare.shared_vocabulary: false): none, target"
        )
    kind = TransformerTranslator if params.kind == "transformer" else RecurrentTranslator
    return kind(
        params,
        source_vocabulary=data["source_vocabulary_size"],
        target_vocabulary=data["target_vocabulary_size"],
    )


def dataset(folder: Path, split: Split, params: Params, *, augment: bool) -> SentencePairs:
    """The pairs of a split, or of several; with `augment`, to learn from as params say."""
    store = SequenceStore(folder / FILE_NAME)
    if not augment:
        return SentencePairs(store, split)
    sampling = ScheduledSampling(
        largest=params.model.scheduled_sampling, epochs=params.train.epochs, seed=params.train.seed
    )
    return SentencePairs(store, split, sampling=sampling, longer_side=params.train.batch_tokens > 0)


def learned(folder: Path, split: Split) -> Learned:
    """The pairs, and the sources alone, that a network is trained and chosen by: test segments are known by the one or
    the other. (A pair's id is its line, which moves when others come.)
    """
    store = SequenceStore(folder / FILE_NAME)
    rows = store.rows(split)
    return Learned.of(Identities(chain(store.values("source_text", rows), identities(folder, rows).ids)))


def identities(folder: Path, rows: np.ndarray) -> Identities:
    """Some rows of the store, by both texts of the pair."""
    store = SequenceStore(folder / FILE_NAME)
    pairs = zip(store.values("source_text", rows), store.values("target_text", rows), strict=True)
    return Identities(map("\t".join, pairs))
