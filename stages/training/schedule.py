"""The learning rate at each step, as a factor of the largest: a pure function, so there is no state to keep."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..params import TrainParams


def factor(params: TrainParams, step: int, steps: int, monitored: Sequence[float]) -> float:
    """A linear rise over the first `warmup_fraction` of all steps, then what `schedule` says.

    `step` counts from 0 over the whole training of `steps` steps; `monitored` holds the validation values of the epochs
    that have ended, turned so that less is better. `cosine` falls to 0 along half a cosine (Loshchilov and Hutter,
    "SGDR", 2017, without restarts).
    """
    warmup = max(1, round(params.warmup_fraction * steps))
    if step < warmup:
        return (step + 1) / warmup
    if params.schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))
    if params.schedule == "plateau":
        return params.plateau_factor ** plateaus(monitored, params.plateau_patience)
    return 1.0


def plateaus(monitored: Sequence[float], patience: int) -> int:
    """How often `patience` epochs in a row have brought nothing better than the best before them."""
    best, waited, count = math.inf, 0, 0
    for value in monitored:
        if value < best:
            best, waited = value, 0
        else:
            waited += 1
            if waited == patience:
                waited, count = 0, count + 1
    return count
