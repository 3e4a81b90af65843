"""A translator learns: word for word, from its own tokens, and on with the same bits after a stop."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.data.store import FILE_NAME, SequenceWriter, ragged, schema
from stages.models.batch import Batch
from stages.params import load as load_params
from stages.tasks.translation.model.network import dataset, make_batch
from stages.tasks.translation.model.scheduled_sampling import ScheduledSampling
from stages.tasks.translation.model.translate import translate
from stages.tasks.translation.params import Params
from stages.training import loop
from stages.training.checkpoint import Checkpoints
from tests.unit.test_loop import PARAMS
from tests.unit.translators import FAMILIES, SOURCES, TARGETS, translator

pytestmark = pytest.mark.usefixtures("one_thread")

TRAIN = PARAMS.model_copy(update={"batch_size": 3, "learning_rate": 0.01})


@pytest.mark.parametrize("kind", [{"kind": "rnn"}, {"kind": "rnn", "input_feeding": True}, {"kind": "transformer"}])
def test_the_network_can_learn_a_word_for_word_dictionary(kind: dict[str, Any]) -> None:
    """Two words each way, in turned order: alignment has to be found."""
    network = translator(hidden_size=24, embedding_size=16, feedforward_size=48, **kind).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02 if kind["kind"] == "rnn" else 0.005)
    pairs = [(np.array(s), np.array(s[::-1]) - 2) for s in ([6, 7], [7, 6], [6, 6, 7], [8, 6], [7, 8, 8], [8, 8], [7])]
    batch = make_batch([p[0] for p in pairs], [p[1] for p in pairs])
    for _ in range(60):
        optimizer.zero_grad()
        loss, tokens = network.losses(batch)["loss"]
        (loss / tokens).backward()
        optimizer.step()
    assert (loss / tokens).item() < 0.1 * math.log(9)
    found = translate(network.eval(), [p[0] for p in pairs], beam_size=2, max_length=5, batch_size=8)
    assert [answer.tokens for (answer,) in found] == [p[1].tolist() for p in pairs]


SAMPLING = ScheduledSampling(largest=0.6, epochs=4, seed=1)


def test_the_share_of_own_tokens_rises_to_the_largest_in_the_last_epoch() -> None:
    assert [SAMPLING.share(epoch) for epoch in range(4)] == pytest.approx([0.0, 0.2, 0.4, 0.6])
    for epoch in range(4):
        replaced = SAMPLING.replaced(np.arange(2000), 11, epoch=epoch)
        assert not replaced[:, 0].any()  # the start token is never another
        assert replaced[:, 1:].mean() == pytest.approx(SAMPLING.share(epoch), abs=0.01)


def test_which_tokens_are_replaced_belongs_to_an_example_and_not_to_its_batch() -> None:
    together = SAMPLING.replaced(np.array([5, 9, 11]), 20, epoch=3)
    assert np.array_equal(SAMPLING.replaced(np.array([9]), 8, epoch=3), together[1:2, :8])
    assert not np.array_equal(SAMPLING.replaced(np.array([5, 9, 11]), 20, epoch=2), together)


@pytest.mark.parametrize("kind", FAMILIES)
def test_in_a_replaced_place_the_network_reads_what_it_would_have_said(kind: dict[str, Any]) -> None:
    network = translator(seed=5, **kind)
    batch = make_batch(SOURCES[:1], [np.array([4, 5, 6])])
    said = network(batch).argmax(dim=-1)[0]
    assert said[1] != 5
    replaced = torch.tensor([[False, False, True, False]])
    mixed = network(replace(batch, context={**batch.context, "replaced": replaced}))
    by_hand = make_batch(SOURCES[:1], [np.array([4, int(said[1]), 6])])
    torch.testing.assert_close(mixed, network(by_hand))


def test_with_a_budget_of_tokens_a_pair_is_as_long_as_its_longer_side(tmp_path: Path) -> None:
    pairs = [([5, 6, 7], [4]), ([5], [4, 5, 6]), ([5, 6], [4])]
    columns = schema({"source": ragged("int32"), "target": ragged("int32")})
    with SequenceWriter(tmp_path / FILE_NAME, columns) as writer:
        for number, (source, target) in enumerate(pairs):
            row = {"id": str(number), "split": "train", "length": len(source), "source": source, "target": target}
            writer.append(row)

    def lengths(batch_tokens: int, *, augment: bool) -> list[int]:
        params = load_params()["translation"]
        assert isinstance(params, Params)
        train = params.train.model_copy(update={"batch_tokens": batch_tokens})
        return dataset(tmp_path, "train", params.model_copy(update={"train": train}), augment=augment).lengths.tolist()

    assert lengths(0, augment=True) == lengths(100, augment=False) == [3, 1, 2]
    assert lengths(100, augment=True) == [3, 4, 2]  # targets with their end token: 2, 4 and 2


class Dictionary:
    """A few pairs to train on, with scheduled sampling."""

    def __init__(self) -> None:
        self.lengths = np.array([len(source) for source in SOURCES])

    def __len__(self) -> int:
        return len(SOURCES)

    def name(self, example: int) -> str:
        return str(example)

    def batch(self, examples: np.ndarray, *, epoch: int | None = None) -> Batch:
        batch = make_batch([SOURCES[e] for e in examples], [TARGETS[e] for e in examples])
        if epoch is None:
            return batch
        steps = batch.context["previous"].shape[1]
        replaced = torch.from_numpy(SAMPLING.replaced(examples, steps, epoch=epoch))
        return replace(batch, context={**batch.context, "replaced": replaced})


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_training_with_own_tokens_and_dropout_goes_on_with_the_same_bits(
    kind: dict[str, Any], tmp_path: Path
) -> None:
    def train(checkpoints: Checkpoints | None, stop_after: int) -> dict[str, torch.Tensor]:
        taken = itertools.count(1)
        network = translator(seed=5, dropout=0.3, **kind)
        loop.fit(
            network,
            Dictionary(),
            Dictionary(),
            TRAIN,
            checkpoints=checkpoints,
            stop_requested=lambda: next(taken) == stop_after,
        )
        return network.state_dict()

    whole = train(None, 0)
    with pytest.raises(loop.Stopped):
        train(Checkpoints(tmp_path, seconds=1e9), 5)
    resumed = train(Checkpoints(tmp_path, seconds=1e9), 0)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
