"""Drawings of given classes, drawn by the network. Travels inside a registered model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ....models.counter_rng import uniform
from ....models.mixture import DRAWS
from ...sketch.data.strokes import strokes_of
from .canvas import DOWN, END, PIXELS, UP, Canvas
from .network import DrawingDecoder

BATCH_SIZE = 64
_LEAST_POINTS = 2  # with fewer a drawing has no extent


def draw(
    network: DrawingDecoder,
    classes: Sequence[int],
    seeds: Sequence[int],
    temperatures: Sequence[float],
    *,
    pen_temperature: float,
    max_points: int,
) -> list[np.ndarray]:
    """One drawing for each class number, seed and temperature: `(points, 3)` int64 of x, y (pixels) and pen_up.

    A temperature is that of where the pen goes; whether it stays on the paper is drawn at `pen_temperature`, since a
    stroke's or a drawing's end is likely nowhere and, sharpened as the way is, never comes.

    A drawing is a function of its own three and of the two that all share: its random numbers are counted from its
    seed, batches have one size whatever is asked for, and a point lies on a whole pixel before the next step is taken,
    so that no rounding adds up. It ends after `max_points` (at least 2) where the network would go on. The network must
    be in evaluation mode.
    """
    drawings: list[np.ndarray] = []
    for first in range(0, len(classes), BATCH_SIZE):
        some = slice(first, first + BATCH_SIZE)
        drawings += _batch(network, classes[some], seeds[some], temperatures[some], pen_temperature, max_points)
    return drawings


def _batch(
    network: DrawingDecoder,
    classes: Sequence[int],
    seeds: Sequence[int],
    temperatures: Sequence[float],
    pen_temperature: float,
    max_points: int,
) -> list[np.ndarray]:
    device = next(network.parameters()).device
    # What stands beyond the drawings that were asked for is drawn and thrown away.
    beyond = BATCH_SIZE - len(classes)
    numbers = np.pad(np.asarray(seeds, dtype=np.int64), (0, beyond))
    heat = torch.tensor([*temperatures, *[0.0] * beyond], device=device)[:, None]
    with torch.inference_mode():
        vectors, state = network.start(torch.tensor([*classes, *[0] * beyond], device=device))
        pen_heat = torch.full_like(heat, pen_temperature)
        canvas = Canvas.empty(BATCH_SIZE, device)
        ended = torch.arange(BATCH_SIZE, device=device) >= len(classes)
        points, pens = [], []
        for step in range(max_points):
            mixture, state = network.step(canvas.inputs()[:, None], vectors, state)
            random = torch.from_numpy(uniform(0, step, numbers, DRAWS)).float().to(device)
            # In float32 a number may round to 1, which is no draw.
            offset, pen = mixture.at_step(0).draw(random.clamp(max=1 - 2**-24), heat, pen_heat)
            if step == 0:
                offset = torch.zeros_like(offset)
            if step + 1 < _LEAST_POINTS:
                pen = torch.where(pen == END, torch.full_like(pen, DOWN), pen)
            canvas = canvas.after((offset * PIXELS).round() / PIXELS, pen)
            points.append(canvas.point * PIXELS)
            pens.append(pen)
            ended = ended | (pen == END)
            if ended.all():
                break
    way = torch.stack(points, dim=1).round().long().cpu().numpy()
    states = torch.stack(pens, dim=1).cpu().numpy()
    return [_drawing(way[number], states[number]) for number in range(len(classes))]


def _drawing(points: np.ndarray, pens: np.ndarray) -> np.ndarray:
    """The points `(steps, 2)` and pen states `(steps,)` of one drawing up to its end, as `(points, 3)`."""
    ends = np.flatnonzero(pens == END)
    length = int(ends[0]) + 1 if len(ends) else len(pens)
    pen_up = pens[:length] >= UP
    pen_up[-1] = True
    return np.column_stack([points[:length], pen_up])


def strokes(drawing: np.ndarray) -> list[list[list[int]]]:
    """`(points, 3)` as Quick, Draw!'s `[[xs, ys], …]`, moved so that the least coordinates are 0."""
    least = drawing[:, :2].min(axis=0)
    return [(stroke - least).T.tolist() for stroke in strokes_of(drawing)]
