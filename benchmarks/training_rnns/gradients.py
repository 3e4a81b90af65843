"""Gradients that explode and gradients that vanish."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from stages.models.recurrent import Cell, RecurrentStack
from stages.tasks.sketch.model.network import SketchDataset
from stages.training.batch_sampler import BucketBatchSampler
from stages.training.inference import measure

from ..command import Rows
from .common import COLORS, Reader, each, figure, sketches, table

CLIPS = ("no clipping", "max_grad_norm 1.0", "clip_value 0.05")
SEEDS = (1, 2, 3)
CELLS: dict[str, tuple[Cell, str]] = {
    "simple RNN": ("rnn", COLORS[1]),
    "LSTM": ("lstm", COLORS[0]),
    "GRU": ("gru", COLORS[2]),
}


def clipping() -> Rows:
    """A simple RNN with plain gradient descent and an LSTM with AdamW, at rates where single steps do harm."""
    _, train, validation = sketches()
    cases: list[tuple[str, Cell, type[torch.optim.SGD] | type[torch.optim.AdamW], float]] = [
        ("simple RNN, SGD at 0.5", "rnn", torch.optim.SGD, 0.5),
        ("LSTM, AdamW at 0.02", "lstm", torch.optim.AdamW, 0.02),
    ]

    def rows() -> Iterator[tuple[object, ...]]:
        for axis, (name, cell, optimizer, rate) in zip(axes, cases, strict=True):
            for clip, color in zip(CLIPS, COLORS, strict=False):
                norms, found = [], []
                for seed in SEEDS:
                    torch.manual_seed(seed)
                    network = Reader(cell, train)
                    norms.append(list(descend(network, train, optimizer(network.parameters(), lr=rate), clip, seed)))
                    found.append(measure(network, validation, 512))
                axis.semilogy(norms[0], color=color, label=clip, linewidth=0.7)
                losses, accuracies = ([one[metric] for one in found] for metric in ("loss", "accuracy"))
                largest = f"{max(map(max, norms)):.0f}"
                yield name, clip, largest, f"{np.mean(losses):.2f}", f"{np.mean(accuracies):.2f}", each(losses)

    with figure("clipping", [name for name, *_ in cases], xlabel="step") as axes:
        axes[0].set_ylabel("norm of the gradient, before clipping")
        return table(("network", "clipping", "largest norm", "validation loss", "accuracy", "each seed's loss"), rows())


def descend(
    network: Reader, train: SketchDataset, optimizer: torch.optim.Optimizer, clip: str, seed: int
) -> Iterator[float]:
    """Take the steps of two epochs; gives the gradient's norm before clipping."""
    weights = list(network.parameters())
    for epoch in (0, 1):
        for examples in BucketBatchSampler(train.lengths, 32, seed=seed, epoch=epoch):
            total, count = network.losses(train.batch(examples))["loss"]
            optimizer.zero_grad()
            (total / count).backward()
            yield float(nn.utils.clip_grad_norm_(weights, 1.0 if clip == CLIPS[1] else math.inf))
            if clip == CLIPS[2]:
                nn.utils.clip_grad_value_(weights, 0.05)
            optimizer.step()


def reach() -> Rows:
    """How much the loss at the end depends on the input so many steps before it, with fresh weights."""
    back = (1, 10, 50, 100, 199)
    # By name: cell, factor of its recurrent weights, forget gate's bias, style.
    cases: dict[str, tuple[Cell, float, float, str]] = {
        "simple RNN": ("rnn", 1.0, 0.0, "-"),
        "simple RNN, recurrent weights × 3": ("rnn", 3.0, 0.0, ":"),
        "GRU": ("gru", 1.0, 0.0, "-"),
        "LSTM": ("lstm", 1.0, 0.0, "-"),
        "LSTM, forget gate's bias 1": ("lstm", 1.0, 1.0, "--"),
        "LSTM, forget gate's bias 3": ("lstm", 1.0, 3.0, "-."),
    }

    def rows() -> Iterator[tuple[object, ...]]:
        for name, (cell, factor, bias, style) in cases.items():
            norms = torch.stack([_norms(cell, factor, bias, seed) for seed in SEEDS]).mean(dim=0)
            relative = (norms / norms[0]).numpy()
            axis.semilogy(relative, style, color=dict(CELLS.values())[cell], label=name)
            yield name, *(f"{relative[steps]:.0e}" for steps in back)

    title = "‖∂ loss / ∂ input‖, relative to the last step's"
    with figure("vanishing", [title], xlabel="steps back from the end") as (axis,):
        axis.set_ylim(1e-16, 1e16)
        return table(("network", *(f"{steps} back" for steps in back)), rows())


def _norms(cell: Cell, factor: float, bias: float, seed: int, steps: int = 200, size: int = 64) -> Tensor:
    """The mean norm of the gradient at each step's input, the last step first, `(steps,)`."""
    torch.manual_seed(seed)
    stack = RecurrentStack(2, size, cell=cell).double()  # smaller numbers than float32 has
    layer = stack.forward_layers[0]
    with torch.no_grad():
        layer.get_parameter("weight_hh_l0").mul_(factor)
        if bias:
            layer.get_parameter("bias_ih_l0")[size : 2 * size] = bias
    values, target = adding(32, steps, torch.Generator().manual_seed(seed))
    values = values.double().requires_grad_()
    outputs = stack(values, torch.full((32,), steps))
    (outputs[:, -1].sum(dim=1) - target).pow(2).mean().backward()
    assert values.grad is not None
    return values.grad.norm(dim=2).mean(dim=0).flip(0)


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


def memory() -> Rows:
    """The adding problem at growing length: squared error after a fixed number of steps."""
    lengths, steps, points = (20, 50, 100), 1000, 10

    def rows() -> Iterator[tuple[object, ...]]:
        for name, (cell, color) in CELLS.items():
            row: list[str] = []
            for axis, length in zip(axes, lengths, strict=True):
                curves = [_errors(cell, length, steps, points, seed) for seed in SEEDS]
                for label, curve in zip((name, None, None), curves, strict=True):
                    places = range(steps // points, steps + 1, steps // points)
                    axis.semilogy(places, curve, color=color, linewidth=1, label=label)
                row.append(each((curve[-1] for curve in curves), digits=4))
            yield name, *row

    titles = [f"{length} steps" for length in lengths]
    with figure("adding", titles, xlabel="training step") as axes:
        for axis in axes:
            axis.axhline(1 / 6, color="gray", linewidth=1, linestyle=":")
            axis.set_ylim(5e-5, 1)
        axes[0].set_ylabel("squared error")
        return table(("cell", *titles), rows())


def _errors(cell: Cell, length: int, steps: int, points: int, seed: int) -> list[float]:
    """Train on the adding problem; the error on 500 fresh sequences at so many points of the way."""
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
        if step % (steps // points) == 0:
            with torch.no_grad():
                curve.append(float(error(500, torch.Generator().manual_seed(99))))
    return curve
