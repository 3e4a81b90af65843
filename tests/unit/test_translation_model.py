"""The translator: padding changes nothing, one step at a time equals the whole at once, the loss is the one stated."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load, save
from torch import nn
from torch.nn import functional

from stages.data.store import FILE_NAME, SequenceWriter, ragged, schema
from stages.models.attention import Score
from stages.models.batch import Batch, pad
from stages.models.search import beam_search, greedy_search
from stages.models.transformer import HeadedAttention
from stages.params import load as load_params
from stages.tasks.translation.data.tokenizer import END, PADDING, START
from stages.tasks.translation.model.network import Translator, build, dataset, make_batch
from stages.tasks.translation.model.scheduled_sampling import ScheduledSampling
from stages.tasks.translation.model.translate import VOCABULARY, sample, translate
from stages.tasks.translation.params import ModelParams, Params
from stages.training import loop
from stages.training.checkpoint import Checkpoints
from tests.unit.test_engine import PARAMS

TRAIN = PARAMS.model_copy(update={"batch_size": 3, "learning_rate": 0.01})
DATA = {"source_vocabulary_size": 12, "target_vocabulary_size": 9}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small are slower on several threads, and far slower on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def translator(seed: int = 0, data: dict[str, Any] | None = None, **values: Any) -> Translator:
    defaults = {
        "kind": "rnn",
        "cell": "gru",
        "embedding_size": 8,
        "hidden_size": 10,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "attention": "general",
        "input_feeding": False,
        "heads": 2,
        "feedforward_size": 12,
        "tied_embeddings": "target",
        "dropout": 0.0,
        "recurrent_dropout": 0.0,
        "layer_norm": False,
        "label_smoothing": 0.0,
        "scheduled_sampling": 0.0,
    }
    torch.manual_seed(seed)
    return build(ModelParams(**{**defaults, **values}), data or DATA).eval()


def sentences(count: int, vocabulary: int, seed: int) -> list[np.ndarray]:
    generator = np.random.Generator(np.random.Philox(key=[seed, 0]))
    return [generator.integers(4, vocabulary, size=n) for n in generator.integers(1, 8, size=count)]


SOURCES, TARGETS = sentences(6, 12, seed=1), sentences(6, 9, seed=2)
ATTENTIONS = ("none", *get_args(Score))
KINDS = [
    {"cell": cell, "encoder_layers": layers, "decoder_layers": layers, "attention": attention, "input_feeding": feeds}
    for cell in ("lstm", "gru")
    for layers in (1, 2)
    for attention in ATTENTIONS
    for feeds in (False, True)
    if attention != "none" or not feeds
] + [{"kind": "transformer", "encoder_layers": layers, "decoder_layers": layers} for layers in (1, 2)]
NAMES = ["-".join(str(value) for value in kind.values()) for kind in KINDS]


def test_targets_end_with_the_end_and_the_decoder_starts_with_the_start() -> None:
    batch = make_batch([np.array([5, 6]), np.array([7])], [np.array([4]), np.array([8, 4])])
    assert batch.targets is not None
    assert batch.targets.tolist() == [[4, END, PADDING], [8, 4, END]]
    assert batch.context["previous"].tolist() == [[START, 4, PADDING], [START, 8, 4]]
    assert batch.values.tolist() == [[5, 6], [7, PADDING]]


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_padding_changes_no_output(kind: dict[str, Any]) -> None:
    network = translator(**kind)
    together = network(make_batch(SOURCES, TARGETS))
    for row, (source, target) in enumerate(zip(SOURCES, TARGETS, strict=True)):
        alone = network(make_batch([source], [target]))[0]
        torch.testing.assert_close(together[row, : len(target) + 1], alone)


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_step_by_step_the_decoder_says_what_it_says_at_once(kind: dict[str, Any]) -> None:
    network = translator(**kind)
    batch = make_batch(SOURCES, TARGETS)
    at_once = network(batch).log_softmax(dim=-1)
    memory, state = network.encode(batch.values, batch.lengths)
    for time in range(at_once.shape[1]):
        log_probabilities, state = network.step(batch.context["previous"][:, time : time + 1], state, memory)
        torch.testing.assert_close(log_probabilities[:, 0], at_once[:, time])


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_hypotheses_of_a_sentence_do_not_touch_each_other(kind: dict[str, Any]) -> None:
    network = translator(**kind)
    batch = make_batch(SOURCES, TARGETS)
    memory, state = network.encode(batch.values, batch.lengths)
    double = {name: value.repeat_interleave(2, dim=1) for name, value in state.items()}
    tokens = torch.tensor([[START, 5]]).expand(len(SOURCES), 2)
    both, after = network.step(tokens, double, memory)
    for hypothesis in (0, 1):
        one, one_after = network.step(tokens[:, hypothesis : hypothesis + 1], state, memory)
        torch.testing.assert_close(both[:, hypothesis : hypothesis + 1], one)
        for name in after:
            torch.testing.assert_close(after[name][:, hypothesis : hypothesis + 1], one_after[name])


def test_the_loss_is_the_cross_entropy_of_each_real_token() -> None:
    network = translator()
    batch = make_batch(SOURCES, TARGETS)
    logits = network(batch).log_softmax(dim=-1)
    expected, right, count = 0.0, 0, 0
    for row, target in enumerate(TARGETS):
        for time, token in enumerate([*target.tolist(), END]):
            expected -= logits[row, time, token].item()
            right += int(logits[row, time].argmax()) == token
            count += 1
    sums = network.losses(batch)
    assert sums["loss"][0].item() == pytest.approx(expected, rel=1e-5)
    assert sums["token_accuracy"][0].item() == right
    assert sums["loss"][1].item() == sums["token_accuracy"][1].item() == count


def test_label_smoothing_is_for_training_alone() -> None:
    network, plain = translator(label_smoothing=0.3), translator()
    batch = make_batch([np.array([5])], [np.array([6])])
    assert network.losses(batch)["loss"][0] == plain.losses(batch)["loss"][0]
    logits = plain(batch)[0]
    log = functional.log_softmax(logits, dim=-1)
    smoothed = -(0.7 * (log[0, 6] + log[1, END]) + 0.3 * log.mean(dim=-1).sum())
    network.train()
    assert network.losses(batch)["loss"][0].item() == pytest.approx(smoothed.item(), rel=1e-5)


def test_a_transformer_is_told_where_heads_do_not_divide_its_size() -> None:
    with pytest.raises(ValidationError, match="heads that divide hidden_size; heads is 3, hidden_size 10"):
        translator(kind="transformer", heads=3)


def test_attention_of_several_heads_is_pytorchs() -> None:
    torch.manual_seed(0)
    ours, theirs = HeadedAttention(6, 2), nn.MultiheadAttention(6, 2, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.look_up.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.look_up.bias]))
    theirs.out_proj.load_state_dict(ours.output.state_dict())
    values, memory = torch.randn(2, 3, 6), torch.randn(2, 4, 6)
    mask = torch.tensor([[True, True, False, False], [True] * 4])
    expected, weights = theirs(values, memory, memory, key_padding_mask=~mask)
    torch.testing.assert_close(ours(values, ours.keep(memory), mask.unsqueeze(1)), expected)
    torch.testing.assert_close(ours.weights(values, ours.keep(memory), mask.unsqueeze(1)), weights)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.get("attention") != "none"])
def test_attention_weights_sum_to_one_over_the_real_source(kind: dict[str, Any]) -> None:
    batch = make_batch(SOURCES, TARGETS)
    weights = translator(**kind).alignments(batch)
    assert weights.shape == (6, batch.context["previous"].shape[1], batch.values.shape[1])
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:2]))
    assert (weights.masked_select(~batch.mask.unsqueeze(1).expand_as(weights)) == 0).all()


def test_without_attention_the_source_is_told_by_the_first_state_alone() -> None:
    network = translator(attention="none")
    batch = make_batch(SOURCES, TARGETS)
    memory, state = network.encode(batch.values, batch.lengths)
    assert set(memory) == {"mask"}
    assert (network.alignments(batch) == 0).all()
    tokens = batch.context["previous"][:, :1]
    shuffled = {name: value.flip(0) for name, value in memory.items()}
    torch.testing.assert_close(network.step(tokens, state, shuffled)[0], network.step(tokens, state, memory)[0])


def test_with_input_feeding_a_step_knows_where_the_step_before_looked() -> None:
    network = translator(input_feeding=True)
    batch = make_batch(SOURCES, TARGETS)
    memory, state = network.encode(batch.values, batch.lengths)
    assert (state["fed"] == 0).all()  # before the first step nothing has been looked at
    fed = {**state, "fed": torch.ones_like(state["fed"])}
    tokens = batch.context["previous"][:, :1]
    assert not torch.allclose(network.step(tokens, fed, memory)[0], network.step(tokens, state, memory)[0])


def test_input_feeding_without_attention_is_refused() -> None:
    with pytest.raises(ValidationError, match="an attention .* where input_feeding is true; attention is none"):
        translator(attention="none", input_feeding=True)


SHARED = {"source_vocabulary_size": 12, "target_vocabulary_size": 12, "shared_vocabulary": True}


@pytest.mark.parametrize("kind", ["rnn", "transformer"])
@pytest.mark.parametrize("tied", ["none", "target", "all"])
def test_weights_can_be_saved_and_tied_ones_are_saved_once(tied: str, kind: str) -> None:
    network = translator(kind=kind, tied_embeddings=tied, data=SHARED)
    loaded = translator(seed=1, kind=kind, tied_embeddings=tied, data=SHARED)
    loaded.load_state_dict(load(save(network.state_dict())))
    batch = make_batch(SOURCES, TARGETS)
    assert torch.equal(loaded(batch), network(batch))
    matrices = {"source_embedding.weight", "target_embedding.weight", "output_weight"}
    kept = {
        "none": matrices,
        "target": matrices - {"output_weight"},
        "all": {"target_embedding.weight"},
    }
    assert matrices & set(network.state_dict()) == kept[tied]


def test_embeddings_of_two_vocabularies_cannot_all_be_tied() -> None:
    with pytest.raises(ValueError, match="tied_embeddings: found all; allowed where .*: none, target"):
        translator(tied_embeddings="all", data={**DATA, "shared_vocabulary": False})


@pytest.mark.parametrize("beam_size", [1, 4])
def test_translations_come_in_the_order_of_the_sources(beam_size: int) -> None:
    network = translator(seed=3)
    together = translate(network, SOURCES, beam_size=beam_size, max_length=6, batch_size=4)
    for source, (answer,) in zip(SOURCES, together, strict=True):
        ((alone,),) = translate(network, [source], beam_size=beam_size, max_length=6, batch_size=1)
        assert alone.tokens == answer.tokens
        assert alone.score == pytest.approx(answer.score, abs=1e-5)
        assert len(answer.tokens) <= 6
        assert answer.score < 0


FAMILIES = [{"kind": "rnn", "cell": "lstm"}, {"kind": "rnn", "input_feeding": True}, {"kind": "transformer"}]


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_beam_is_never_below_greedy_search_and_one_of_a_single_hypothesis_is_it(kind: dict[str, Any]) -> None:
    network = translator(seed=5, decoder_layers=2, **kind)
    with torch.inference_mode():
        memory, state = network.encode(*pad(SOURCES))
        (greedy, one, four) = (
            greedy_search(network.step, state, memory, VOCABULARY, max_length=6),
            beam_search(network.step, state, memory, VOCABULARY, beam_size=1, max_length=6),
            beam_search(network.step, state, memory, VOCABULARY, beam_size=4, max_length=6),
        )
    assert torch.equal(one.scores, greedy.scores)
    assert torch.equal(one.tokens[..., : greedy.tokens.shape[-1]], greedy.tokens)
    assert (four.scores[:, 0] >= greedy.scores[:, 0] - 1e-6).all()


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_wide_beam_finds_the_best_of_all_sentences(kind: dict[str, Any]) -> None:
    network = translator(seed=5, **kind)
    words = range(4, 9)
    every = [list(tokens) for length in (1, 2) for tokens in itertools.product(words, repeat=length)]
    found = translate(network, SOURCES[:2], beam_size=30, max_length=2, batch_size=2, n_best=30)
    for source, answers in zip(SOURCES[:2], found, strict=True):
        batch = make_batch([source] * len(every), [np.array(tokens) for tokens in every])
        assert batch.targets is not None
        log_probabilities = network(batch).log_softmax(dim=-1).gather(2, batch.targets.unsqueeze(2)).squeeze(2)
        real = batch.targets != PADDING
        means = (log_probabilities * real).sum(dim=1) / real.sum(dim=1)
        scores = dict(zip(map(tuple, every), means.tolist(), strict=True))
        assert len(answers) == len({tuple(answer.tokens) for answer in answers}) == 30
        assert [answer.score for answer in answers] == sorted((answer.score for answer in answers), reverse=True)
        assert answers[0].score == pytest.approx(max(scores.values()), abs=1e-5)
        for answer in answers:
            assert answer.score == pytest.approx(scores[tuple(answer.tokens)], abs=1e-5)


def test_more_translations_than_hypotheses_are_refused() -> None:
    with pytest.raises(ValueError, match="n_best: found 2; allowed with a beam_size of 1: 1 to 1"):
        translate(translator(), SOURCES, beam_size=1, max_length=6, batch_size=4, n_best=2)


@pytest.mark.parametrize("kind", FAMILIES)
def test_what_is_drawn_for_a_source_depends_on_seed_and_source_alone(kind: dict[str, Any]) -> None:
    network = translator(seed=5, **kind)
    options: dict[str, Any] = {"samples": 3, "temperature": 1.0, "max_length": 6}

    def tokens(sources: list[np.ndarray], seed: int, batch_size: int) -> list[list[list[int]]]:
        found = sample(network, sources, seed=seed, batch_size=batch_size, **options)
        return [[answer.tokens for answer in answers] for answers in found]

    together = tokens(SOURCES, 1, 4)
    assert tokens(SOURCES[::-1], 1, 1)[::-1] == together
    assert tokens(SOURCES, 2, 4) != together
    assert together[0][0] != together[0][1] or together[0][1] != together[0][2]


def test_a_translation_s_score_is_the_mean_log_probability_that_training_would_see() -> None:
    network = translator(seed=3)
    ((answer,),) = translate(network, SOURCES[:1], beam_size=3, max_length=6, batch_size=1)
    batch = make_batch(SOURCES[:1], [np.array(answer.tokens, dtype=np.int64)])
    loss, tokens = network.losses(batch)["loss"]
    assert answer.score == pytest.approx(-(loss / tokens).item(), abs=1e-5)


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
            stop_asked=lambda: next(taken) == stop_after,
        )
        return network.state_dict()

    whole = train(None, 0)
    with pytest.raises(loop.Stopped):
        train(Checkpoints(tmp_path, seconds=1e9), 5)
    resumed = train(Checkpoints(tmp_path, seconds=1e9), 0)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
