"""Strokes as a mixture density: where the pen goes next, and whether it stays on the paper.

Ha and Eck, "A Neural Representation of Sketch Drawings", 2017, https://arxiv.org/abs/1704.03477: equations 3 to 6 (the
density and how a network's numbers become its parameters), 8 (temperature), 9 (the loss).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional

PEN_STATES = 3  # after a point the pen is down, up, or the drawing at its end
DRAWS = 4  # random numbers that one step takes
_NUMBERS = 6  # of a component: weight, two means, two deviations, correlation
_MOST_CORRELATED = 0.99  # beyond it a component is all but a line, and its density without a bound


@dataclass(frozen=True, slots=True, kw_only=True)
class StrokeMixture:
    """Two-dimensional Gaussians for the offset, and the pen; each tensor `(…, components)` but `pen`."""

    log_weights: Tensor
    mean_x: Tensor
    mean_y: Tensor
    deviation_x: Tensor
    deviation_y: Tensor
    correlation: Tensor
    pen: Tensor  # (…, 3) log-probabilities of down, up, end

    @classmethod
    def size(cls, components: int) -> int:
        """How many numbers of a network make a mixture."""
        return _NUMBERS * components + PEN_STATES

    @classmethod
    def of(cls, numbers: Tensor, *, least_deviation: float) -> StrokeMixture:
        """From `(…, size)` numbers of any size (equations 5 and 6).

        Deviations are larger than `least_deviation`: points lie on whole pixels, and a narrower density would learn
        the grid.
        """
        numbers = numbers.float()  # in half precision small deviations would be gone
        pen, rest = numbers[..., :PEN_STATES], numbers[..., PEN_STATES:]
        weight, mean_x, mean_y, width, height, tilt = rest.chunk(_NUMBERS, dim=-1)
        return cls(
            log_weights=weight.log_softmax(dim=-1),
            mean_x=mean_x,
            mean_y=mean_y,
            deviation_x=width.exp() + least_deviation,
            deviation_y=height.exp() + least_deviation,
            correlation=_MOST_CORRELATED * tilt.tanh(),
            pen=pen.log_softmax(dim=-1),
        )

    def at_step(self, step: int) -> StrokeMixture:
        """The mixtures of one step, `(batch, …)`, of those of `(batch, time, …)`."""
        return StrokeMixture(**{field.name: getattr(self, field.name)[:, step] for field in fields(self)})

    def log_density(self, offset: Tensor) -> Tensor:
        """The logarithm of the offsets' density, `(…, 2)` to `(…)` (equations 3 and 4)."""
        x = (offset[..., :1] - self.mean_x) / self.deviation_x
        y = (offset[..., 1:] - self.mean_y) / self.deviation_y
        rest = 1 - self.correlation.square()
        exponent = (x.square() + y.square() - 2 * self.correlation * x * y) / (2 * rest)
        scale = math.log(2 * math.pi) + self.deviation_x.log() + self.deviation_y.log() + rest.log() / 2
        return torch.logsumexp(self.log_weights - exponent - scale, dim=-1)

    def pen_loss(self, states: Tensor) -> Tensor:
        """The negative logarithm of the probability of pen states `(…)` int64, of the same shape."""
        return functional.nll_loss(self.pen.flatten(0, -2), states.flatten(), reduction="none").view_as(states)

    def draw(self, uniform: Tensor, temperature: Tensor, pen_temperature: Tensor) -> tuple[Tensor, Tensor]:
        """Offsets `(batch, 2)` and pen states `(batch,)` for `uniform` random numbers `(batch, 4)` in [0, 1).

        `temperature` `(batch, 1)` divides the logarithms of the components' weights and multiplies the variances,
        `pen_temperature` divides the logarithms of the pen's (equation 8, which has one for both); at 0 the likeliest
        component's mean, or the likeliest pen state, is left.
        """
        component = _chosen(self.log_weights, uniform[:, 0:1], temperature)
        mean_x, mean_y, deviation_x, deviation_y, correlation = (
            values.gather(-1, component).squeeze(-1)
            for values in (self.mean_x, self.mean_y, self.deviation_x, self.deviation_y, self.correlation)
        )
        # Two independent normal numbers (Box and Muller, 1958), the second one tilted towards the first.
        radius = (-2 * torch.log1p(-uniform[:, 1])).sqrt() * temperature.squeeze(-1).sqrt()
        angle = 2 * math.pi * uniform[:, 2]
        one, other = radius * angle.cos(), radius * angle.sin()
        tilted = correlation * one + (1 - correlation.square()).sqrt() * other
        offset = torch.stack([mean_x + deviation_x * one, mean_y + deviation_y * tilted], dim=-1)
        return offset, _chosen(self.pen, uniform[:, 3:4], pen_temperature).squeeze(-1)


def _chosen(logarithms: Tensor, uniform: Tensor, temperature: Tensor) -> Tensor:
    """One of each row, `(batch, 1)`: the first whose running sum of probabilities exceeds the random number."""
    likeliest = logarithms.argmax(dim=-1, keepdim=True)
    sharpened = (logarithms / temperature.clamp(min=1e-6)).softmax(dim=-1)
    beyond = sharpened.cumsum(dim=-1) > uniform
    # Rounding may leave the whole sum below the random number.
    found = torch.where(beyond.any(dim=-1, keepdim=True), beyond.int().argmax(dim=-1, keepdim=True), likeliest)
    return torch.where(temperature > 0, found, likeliest)
