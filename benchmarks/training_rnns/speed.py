"""What padding costs, and what a loop costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from stages.models.cells import Weights, lstm_cell, unroll
from stages.models.recurrent import RecurrentStack
from stages.training.batch_sampler import BucketBatchSampler, padding_share

from ..command import Rows
from ..timing import alternate
from .common import COLORS, figure, sketches, table

BATCH = 32
_AT_ONCE = 25  # batches of a round


def padding() -> Rows:
    """Training steps of the sketch network's recurrent part over batches that are made in four ways."""
    params, train, _ = sketches()
    model, lengths = params.model, train.lengths
    for stride in model.conv_strides:
        lengths = -(-lengths // stride)
    inputs = model.conv_channels[-1]
    stack = RecurrentStack(inputs, model.hidden_size, layers=model.layers, cell=model.cell, bidirectional=True)
    packed = nn.LSTM(inputs, model.hidden_size, num_layers=model.layers, bidirectional=True, batch_first=True)
    longest = int(lengths.max())
    order = np.random.default_rng(1).permutation(len(lengths))
    shuffled = [order[i : i + BATCH] for i in range(0, len(order), BATCH)]
    buckets = list(BucketBatchSampler(lengths, BATCH, seed=1, epoch=0))

    def padded_step(batch: np.ndarray, time_steps: int = 0) -> None:
        ends = torch.from_numpy(lengths[batch])
        stack(torch.ones(len(batch), time_steps or int(ends.max()), inputs), ends).sum().backward()

    def packed_step(batch: np.ndarray) -> None:
        ends = torch.from_numpy(lengths[batch])
        values = torch.ones(len(batch), int(ends.max()), inputs)
        sequences = pack_padded_sequence(values, ends, batch_first=True, enforce_sorted=False)
        pad_packed_sequence(packed(sequences)[0], batch_first=True)[0].sum().backward()

    def side(batches: list[np.ndarray], step: Callable[[np.ndarray], None]) -> Iterator[None]:
        """Takes some steps each time it is asked to go on."""
        whole = [batch for batch in batches if len(batch) == BATCH]
        for first in range(0, len(whole), _AT_ONCE):
            for batch in whole[first : first + _AT_ONCE]:
                step(batch)
            yield

    to_longest = partial(padded_step, time_steps=longest)
    fixed = 1 - float(lengths.sum()) / (longest * len(lengths))
    of_shuffled, of_buckets = (padding_share(lengths, batches) for batches in (shuffled, buckets))
    ways = {
        f"all to the longest of the data ({longest})": (fixed, side(shuffled, to_longest)),
        "to the batch's longest": (of_shuffled, side(shuffled, padded_step)),
        "pack_sequence, random batches": (0.0, side(shuffled, packed_step)),
        "pack_sequence, buckets": (0.0, side(buckets, packed_step)),
        "buckets of like lengths (ours)": (of_buckets, side(buckets, padded_step)),
    }
    seconds = alternate({name: partial(next, steps) for name, (_, steps) in ways.items()}, rounds=3, warm_up=1)
    shares = {name: share for name, (share, _) in ways.items()}
    rates = {name: _AT_ONCE * BATCH / median(own.wall) for name, own in seconds.items()}
    with figure("padding", ["share of padding", "sequences a second, forward and backward"], height=2.4) as axes:
        axes[0].barh(list(ways), [100 * share for share in shares.values()], color=COLORS[1])
        axes[0].set_xlabel("%")
        axes[1].barh(list(ways), list(rates.values()), color=COLORS[0])
        axes[1].set_yticklabels([])
        for axis in axes:
            axis.invert_yaxis()
            axis.tick_params(labelsize=8)
    return table(
        ("batches", "padding", "sequences/s"), ((name, f"{shares[name]:.0%}", f"{rates[name]:,.0f}") for name in ways)
    )


class _Loop(nn.Module):
    """An LSTM as a loop over the steps."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.layer = nn.LSTM(inputs, hidden, batch_first=True)
        self._hidden = hidden

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        state = (values.new_zeros(len(values), self._hidden),) * 2
        return unroll(lstm_cell, values, lengths, state, Weights.of(self.layer))[0]


def unrolling() -> Rows:
    """The same LSTM as a dynamic loop, as a static graph of 60 steps, and as a fused kernel."""
    longest, inputs, hidden, sizes = 60, 32, 64, (15, 30, 60)
    torch.manual_seed(1)
    loop = _Loop(inputs, hidden)
    started = time.perf_counter()
    full = (torch.randn(BATCH, longest, inputs), torch.full((BATCH,), longest))
    static = torch.export.export(loop, full).module()
    print(f"exporting 60 steps took {time.perf_counter() - started:.1f} s, imports of the exporter included")
    ways: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "static, 60 steps": lambda values, lengths: static(
            nn.functional.pad(values, (0, 0, 0, longest - values.shape[1])), lengths
        ),
        "dynamic loop": loop,
        "fused kernel (nn.LSTM)": lambda values, lengths: loop.layer(values)[0],
    }
    batches = {size: (torch.randn(BATCH, size, inputs), torch.full((BATCH,), size)) for size in sizes}
    for way in ways.values():
        for size, batch in batches.items():
            torch.testing.assert_close(way(*batch)[:, :size], loop(*batch))

    def step(way: Callable[[Tensor, Tensor], Tensor], size: int) -> None:
        way(*batches[size]).sum().backward()

    sides = {f"{name} {size}": partial(step, way, size) for name, way in ways.items() for size in sizes}
    seconds = alternate(sides, rounds=15, warm_up=1)
    medians = {name: [1000 * median(seconds[f"{name} {size}"].wall) for size in sizes] for name in ways}
    title, xlabel = f"forward and backward of a batch of {BATCH}", "steps of the batch's longest sequence"
    with figure("unrolling", [title], height=2.8, xlabel=xlabel) as (axis,):
        for (name, values), color in zip(medians.items(), COLORS, strict=False):
            axis.plot(sizes, values, "o-", color=color, label=name)
        axis.set_ylabel("ms")
        axis.set_xticks(sizes)
        axis.set_ylim(bottom=0)
    head = ("way", *(f"{size} steps, ms" for size in sizes))
    return table(head, ((name, *(f"{value:.1f}" for value in values)) for name, values in medians.items()))
