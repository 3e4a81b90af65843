"""What the network reads of a drawing so far: of all steps at once in training, step by step when it draws."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ....models.mixture import PEN_STATES

DOWN, UP, END = range(PEN_STATES)  # the pen after a point
START = PEN_STATES  # before the first point
PIXELS = 32.0  # about the length of a step: offsets come to the size of one
_ACROSS = 128.0 / PIXELS  # positions come to the size of one
_MANY_STEPS, _MANY_STROKES = 50.0, 8.0  # counts come to the size of one
INPUTS = 2 + 5 * 2 + PEN_STATES + 1 + 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """The last step and what it led to. Tensors `(…, 2)` in PIXELS, as counted from the first point, or `(…)`."""

    offset: Tensor
    pen: Tensor  # int64
    point: Tensor
    begin: Tensor  # where the stroke began
    low: Tensor  # the corners of the box of all points
    high: Tensor
    steps: Tensor
    steps_of_stroke: Tensor  # after its first point
    strokes: Tensor  # that have ended

    @classmethod
    def empty(cls, size: int, device: torch.device) -> Canvas:
        """Before the first point of so many drawings."""
        nowhere, none = torch.zeros(size, 2, device=device), torch.zeros(size, dtype=torch.int64, device=device)
        return cls(
            offset=nowhere,
            pen=torch.full_like(none, START),
            point=nowhere,
            begin=nowhere,
            low=nowhere,
            high=nowhere,
            steps=none,
            steps_of_stroke=none,
            strokes=none,
        )

    @classmethod
    def before_each(cls, offsets: Tensor, pen: Tensor) -> Canvas:
        """Before each step of whole drawings, `(batch, time, 2)` offsets and `(batch, time)` pen states."""
        offsets = functional.pad(offsets[:, :-1], (0, 0, 1, 0))
        pen = functional.pad(pen[:, :-1], (1, 0), value=START)
        points = offsets.cumsum(dim=1)
        steps = torch.arange(pen.shape[1], device=pen.device).expand_as(pen)
        begins = (functional.pad(pen[:, :-1], (1, 0), value=START) == UP) | (steps == 1)
        first = torch.where(begins, steps, 0).cummax(dim=1).values
        return cls(
            offset=offsets,
            pen=pen,
            point=points,
            begin=points.gather(1, first[..., None].expand_as(points)),
            low=points.cummin(dim=1).values,
            high=points.cummax(dim=1).values,
            steps=steps,
            steps_of_stroke=steps - first,
            strokes=(pen == UP).cumsum(dim=1),
        )

    def after(self, offset: Tensor, pen: Tensor) -> Canvas:
        """After one more step, `(…, 2)` and `(…)`."""
        point = self.point + offset
        begins = (self.pen == UP) | (self.pen == START)
        return Canvas(
            offset=offset,
            pen=pen,
            point=point,
            begin=torch.where(begins[..., None], point, self.begin),
            low=torch.minimum(self.low, point),
            high=torch.maximum(self.high, point),
            steps=self.steps + 1,
            steps_of_stroke=torch.where(begins, 0, self.steps_of_stroke + 1),
            strokes=self.strokes + (pen == UP),
        )

    def inputs(self) -> Tensor:
        """`(…, INPUTS)` numbers of about the size of one."""
        to_box = [self.point - self.low, self.high - self.point, self.high - self.low]
        ways = torch.cat([self.point, self.point - self.begin, *to_box], dim=-1) / _ACROSS
        counts = [self.steps / _MANY_STEPS, self.steps_of_stroke / _MANY_STROKES, self.strokes / _MANY_STROKES]
        states = functional.one_hot(self.pen, PEN_STATES + 1).float()
        return torch.cat([self.offset, ways, states, torch.stack(counts, dim=-1)], dim=-1)
