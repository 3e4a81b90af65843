"""What padding costs, and what a loop costs."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from stages.models.cells import Weights, lstm_cell, unroll
from stages.models.recurrent import RecurrentStack
from stages.training.batch_sampler import BucketBatchSampler, padding_share

from .common import COLORS, axes_in_a_row, save, sketches, table

BATCH = 32


def padding() -> None:
    """Training steps of the sketch network's recurrent part over batches that are made in four ways."""
    params, train, _ = sketches()
    model = params.model
    lengths = train.lengths
    for stride in model.conv_strides:
        lengths = -(-lengths // stride)
    inputs = model.conv_channels[-1]
    stack = RecurrentStack(inputs, model.hidden_size, layers=model.layers, cell=model.cell, bidirectional=True)
    packed = nn.LSTM(inputs, model.hidden_size, num_layers=model.layers, bidirectional=True, batch_first=True)
    longest = int(lengths.max())
    order = np.random.default_rng(1).permutation(len(lengths))
    shuffled = [order[i : i + BATCH] for i in range(0, len(order), BATCH)]
    buckets = list(BucketBatchSampler(lengths, BATCH, seed=1, epoch=0))

    def padded_step(batch: np.ndarray, time_steps: int) -> None:
        ends = torch.from_numpy(lengths[batch])
        stack(torch.ones(len(batch), time_steps, inputs), ends).sum().backward()

    def packed_step(batch: np.ndarray) -> None:
        ends = torch.from_numpy(lengths[batch])
        values = torch.ones(len(batch), int(ends.max()), inputs)
        sequences = pack_padded_sequence(values, ends, batch_first=True, enforce_sorted=False)
        pad_packed_sequence(packed(sequences)[0], batch_first=True)[0].sum().backward()

    def own(batch: np.ndarray) -> int:
        return int(lengths[batch].max())

    fixed = 1 - float(lengths.sum()) / (longest * len(lengths))
    ways: list[tuple[str, float, list[np.ndarray], Callable[[np.ndarray], None]]] = [
        (f"all to the longest of the data ({longest})", fixed, shuffled, lambda b: padded_step(b, longest)),
        ("to the batch's longest", padding_share(lengths, shuffled), shuffled, lambda b: padded_step(b, own(b))),
        ("pack_sequence, random batches", 0.0, shuffled, packed_step),
        ("pack_sequence, buckets", 0.0, buckets, packed_step),
        ("buckets of like lengths (ours)", padding_share(lengths, buckets), buckets, lambda b: padded_step(b, own(b))),
    ]
    rates: dict[str, list[float]] = {name: [] for name, *_ in ways}
    for turn in range(4):  # in turns, so that what else the machine does falls on all; the first warms up
        for name, _, batches, step in ways:
            some = [b for b in batches if len(b) == BATCH][turn * 25 : turn * 25 + 25]
            started = time.perf_counter()
            for batch in some:
                step(batch)
            if turn:
                rates[name].append(len(some) * BATCH / (time.perf_counter() - started))
    figure, axes = axes_in_a_row(["share of padding", "sequences a second, forward and backward"], height=2.4)
    names = [name for name, *_ in ways]
    axes[0].barh(names, [100 * share for _, share, *_ in ways], color=COLORS[1])
    axes[0].set_xlabel("%")
    axes[1].barh(names, [float(np.median(rates[name])) for name in names], color=COLORS[0])
    axes[1].set_yticklabels([])
    for axis in axes:
        axis.invert_yaxis()
        axis.tick_params(labelsize=8)
    save(figure, "padding")
    table(
        ("batches", "padding", "sequences/s"),
        *((name, f"{share:.0%}", f"{np.median(rates[name]):,.0f}") for name, share, *_ in ways),
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


def unrolling() -> None:
    """The same LSTM as a dynamic loop, as a static graph of 60 steps, and as a fused kernel."""
    longest, inputs, hidden, sizes = 60, 32, 64, (15, 30, 60)
    torch.manual_seed(1)
    loop = _Loop(inputs, hidden)
    full = torch.full((BATCH,), longest)
    started = time.perf_counter()
    static = torch.export.export(loop, (torch.randn(BATCH, longest, inputs), full)).module()
    export_seconds = time.perf_counter() - started
    batches = {size: (torch.randn(BATCH, size, inputs), torch.full((BATCH,), size)) for size in sizes}

    def as_static(values: Tensor, lengths: Tensor) -> Tensor:
        return static(nn.functional.pad(values, (0, 0, 0, longest - values.shape[1])), lengths)

    ways: list[tuple[str, Callable[[Tensor, Tensor], Tensor]]] = [
        ("static, 60 steps", as_static),
        ("dynamic loop", loop),
        ("fused kernel (nn.LSTM)", lambda values, lengths: loop.layer(values)[0]),
    ]
    seconds: dict[tuple[str, int], list[float]] = {(name, size): [] for name, _ in ways for size in sizes}
    for turn in range(16):  # in turns, so that what else the machine does falls on all; the first warms up
        for name, way in ways:
            for size, (values, lengths) in batches.items():
                started = time.perf_counter()
                outputs = way(values, lengths)
                outputs.sum().backward()
                if turn:
                    seconds[name, size].append(time.perf_counter() - started)
                else:
                    torch.testing.assert_close(outputs[:, :size], loop(values, lengths))
    medians = {name: [1000 * float(np.median(seconds[name, size])) for size in sizes] for name, _ in ways}
    figure, (axis,) = axes_in_a_row([f"forward and backward of a batch of {BATCH}"], height=2.8)
    for (name, values_ms), color in zip(medians.items(), COLORS, strict=False):
        axis.plot(sizes, values_ms, "o-", color=color, label=name)
    axis.set_xlabel("steps of the batch's longest sequence")
    axis.set_ylabel("ms")
    axis.set_xticks(sizes)
    axis.set_ylim(bottom=0)
    axis.legend(fontsize=8)
    save(figure, "unrolling")
    print(f"exporting 60 steps took {export_seconds:.1f} s, imports of the exporter included")
    table(
        ("way", *(f"{size} steps, ms" for size in sizes)),
        *((name, *(f"{value:.1f}" for value in values)) for name, values in medians.items()),
    )
