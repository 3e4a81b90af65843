"""Gradients that explode and gradients that vanish."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from stages.models.batch import Batch
from stages.models.recurrent import Cell, RecurrentStack
from stages.training.batch_sampler import BucketBatchSampler
from stages.training.inference import measure

from .common import COLORS, Reader, axes_in_a_row, save, sketches, table

CLIPS = ("no clipping", "max_grad_norm 1.0", "clip_value 0.05")
SEEDS = (1, 2, 3)


def clipping() -> None:
    """A simple RNN with plain gradient descent and an LSTM with AdamW, at rates where single steps do harm."""
    _, train, validation = sketches()
    cases: list[tuple[str, Cell, type[torch.optim.SGD] | type[torch.optim.AdamW], float]] = [
        ("simple RNN, SGD at 0.5", "rnn", torch.optim.SGD, 0.5),
        ("LSTM, AdamW at 0.02", "lstm", torch.optim.AdamW, 0.02),
    ]
    figure, axes = axes_in_a_row([name for name, *_ in cases])
    rows: list[tuple[object, ...]] = [
        ("network", "clipping", "largest norm", "validation loss", "accuracy", "each seed's loss")
    ]
    for axis, (name, cell, optimizer, rate) in zip(axes, cases, strict=True):
        for clip, color in zip(CLIPS, COLORS, strict=False):
            results = []
            for seed in SEEDS:
                torch.manual_seed(seed)
                network = Reader(cell, train.batch(np.arange(1)).values.shape[2], 64, len(train.classes))
                batches = (
                    train.batch(b)
                    for epoch in (0, 1)
                    for b in BucketBatchSampler(train.lengths, 32, seed=seed, epoch=epoch)
                )
                norms = list(descend(network, batches, optimizer(network.parameters(), lr=rate), clip))
                found = measure(network, validation, 512)
                results.append((max(norms), found["loss"], found["accuracy"]))
                if seed == SEEDS[0]:
                    axis.semilogy(norms, color=color, label=clip, linewidth=0.7)
            largest, losses, accuracies = zip(*results, strict=True)
            each = " · ".join(f"{loss:.2f}" for loss in losses)
            rows.append(
                (name, clip, f"{max(largest):.0f}", f"{np.mean(losses):.2f}", f"{np.mean(accuracies):.2f}", each)
            )
        axis.set_xlabel("step")
    axes[0].set_ylabel("norm of the gradient, before clipping")
    axes[0].legend(fontsize=8)
    save(figure, "clipping")
    table(*rows)


def descend(network: Reader, batches: Iterator[Batch], optimizer: torch.optim.Optimizer, clip: str) -> Iterator[float]:
    """Take a step for each batch; gives the gradient's norm before clipping."""
    weights = list(network.parameters())
    for batch in batches:
        total, count = network.losses(batch)["loss"]
        optimizer.zero_grad()
        (total / count).backward()
        yield float(nn.utils.clip_grad_norm_(weights, 1.0 if clip == CLIPS[1] else math.inf))
        if clip == CLIPS[2]:
            nn.utils.clip_grad_value_(weights, 0.05)
        optimizer.step()


def reach() -> None:
    """How much the loss at the end depends on the input so many steps before it, with fresh weights."""
    steps, size = 200, 64
    figure, (axis,) = axes_in_a_row(["‖∂ loss / ∂ input‖, relative to the last step's"])
    cases: list[tuple[str, Cell, str]] = [
        ("simple RNN", "rnn", ""),
        ("simple RNN, recurrent weights × 3", "rnn", "large"),
        ("GRU", "gru", ""),
        ("LSTM", "lstm", ""),
        ("LSTM, forget gate's bias 1", "lstm", "open"),
        ("LSTM, forget gate's bias 3", "lstm", "wide open"),
    ]
    back = (1, 10, 50, 100, 199)
    rows: list[tuple[object, ...]] = [("network", *(f"{b} back" for b in back))]
    for name, cell, change in cases:
        norms = torch.zeros(steps, dtype=torch.float64)
        for seed in SEEDS:
            torch.manual_seed(seed)
            stack = RecurrentStack(2, size, cell=cell).double()  # smaller numbers than float32 has
            layer = stack.forward_layers[0]
            with torch.no_grad():
                if change == "large":
                    layer.get_parameter("weight_hh_l0").mul_(3.0)
                elif change:
                    layer.get_parameter("bias_ih_l0")[size : 2 * size] = 3.0 if change == "wide open" else 1.0
            values, target = adding(32, steps, torch.Generator().manual_seed(seed))
            values = values.double().requires_grad_()
            outputs = stack(values, torch.full((32,), steps))
            (outputs[:, -1].sum(dim=1) - target).pow(2).mean().backward()
            assert values.grad is not None
            norms += values.grad.norm(dim=2).mean(dim=0).flip(0) / len(SEEDS)
        relative = (norms / norms[0]).numpy()
        style = ":" if change == "large" else "--" if change else "-"
        axis.semilogy(relative, style, color=COLORS[{"rnn": 1, "gru": 2, "lstm": 0}[cell]], label=name)
        if change == "wide open":
            axis.lines[-1].set_color(COLORS[3])
        rows.append((name, *(f"{relative[b]:.0e}" for b in back)))
    axis.set_ylim(1e-16, 1e16)
    axis.set_xlabel("steps back from the end")
    axis.legend(fontsize=8, ncols=2, loc="upper right")
    save(figure, "vanishing")
    table(*rows)


def adding(count: int, steps: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The adding problem (Hochreiter and Schmidhuber, "Long Short-Term Memory", 1997).

    Each step has a number between 0 and 1 and a mark. Two steps are marked, one in each half; the answer is the sum of
    their numbers. Always to say 1 gives a squared error of 1/6. Values `(count, steps, 2)`, answers `(count,)`.
    """
    numbers, marks = torch.rand(count, steps, generator=generator), torch.zeros(count, steps)
    rows = torch.arange(count)
    for half in (0, steps // 2):
        marks[rows, half + torch.randint(0, steps // 2, (count,), generator=generator)] = 1.0
    return torch.stack([numbers, marks], dim=-1), (numbers * marks).sum(dim=1)


def memory() -> None:
    """The adding problem at growing length: squared error after a fixed number of steps."""
    lengths, steps = (20, 50, 100), 1000
    cells: list[tuple[str, Cell]] = [("simple RNN", "rnn"), ("LSTM", "lstm"), ("GRU", "gru")]
    figure, axes = axes_in_a_row([f"{length} steps" for length in lengths])
    rows: list[tuple[object, ...]] = [("cell", *(f"{length} steps" for length in lengths))]
    for (name, cell), color in zip(cells, (COLORS[1], COLORS[0], COLORS[2]), strict=True):
        row: list[str] = []
        for axis, length in zip(axes, lengths, strict=True):
            curves = [_errors(cell, length, steps, seed) for seed in SEEDS]
            for curve in curves:
                axis.semilogy(
                    *zip(*curve, strict=True), color=color, linewidth=1, label=name if curve is curves[0] else None
                )
            row.append(" · ".join(f"{curve[-1][1]:.4f}" for curve in curves))
        rows.append((name, *row))
    for axis in axes:
        axis.axhline(1 / 6, color="gray", linewidth=1, linestyle=":")
        axis.set_ylim(5e-5, 1)
        axis.set_xlabel("training step")
    axes[0].set_ylabel("squared error")
    axes[2].legend(fontsize=8, loc="lower left")
    save(figure, "adding")
    table(*rows)


def _errors(cell: Cell, length: int, steps: int, seed: int) -> list[tuple[int, float]]:
    """Train on the adding problem; the error on 500 fresh sequences at ten points of the way."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    stack, output = RecurrentStack(2, 32, cell=cell), nn.Linear(32, 1)
    weights = [*stack.parameters(), *output.parameters()]
    optimizer = torch.optim.Adam(weights, lr=0.01)

    def error(count: int, source: torch.Generator) -> Tensor:
        values, answers = adding(count, length, source)
        return (output(stack(values, torch.full((count,), length))[:, -1])[:, 0] - answers).pow(2).mean()

    curve = []
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        error(32, generator).backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        if step % (steps // 10) == 0:
            with torch.no_grad():
                curve.append((step, float(error(500, torch.Generator().manual_seed(99)))))
    return curve
