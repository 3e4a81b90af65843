"""What is fitted after training, on validation forecasts. Arrays are `(windows, 7)`, scaled as the network's are; days
that were not observed do not count.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_SHARES = np.linspace(0.0, 1.0, 21)[::-1]  # the network's own forecast first: it wins ties


def blend_weights(median: np.ndarray, other: np.ndarray, actual: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """The share of `median` for each day ahead, `(7,)` float32 in steps of 0.05, at which it and `other` together have
    the least mean absolute error; 1 where nothing was observed.
    """
    errors = [
        np.where(observed, np.abs(share * median + (1 - share) * other - actual), 0.0).sum(axis=0) for share in _SHARES
    ]
    return _SHARES[np.argmin(errors, axis=0)].astype(np.float32)


def quantile_offsets(
    quantiles: np.ndarray, actual: np.ndarray, observed: np.ndarray, levels: Sequence[float]
) -> np.ndarray:
    """What to add to each quantile of each day ahead, `(7, levels)` float32, so that a new day lies between a level
    and its counterpart as often as they say. `quantiles` is `(windows, 7, levels)`; levels are symmetric about 0.5.

    Split conformal calibration of quantiles: both ends of a band are moved by the same amount, the empirical quantile
    of how far the truth lay outside, with the correction for a finite number (Romano, Patterson and Candès,
    "Conformalized Quantile Regression", 2019, algorithm 1). It is exact for windows that can be exchanged; those of
    neighbouring days overlap, and the years differ.
    """
    offsets = np.zeros((actual.shape[1], len(levels)), dtype=np.float32)
    for low in range(len(levels) // 2):
        high = len(levels) - 1 - low
        outside = np.maximum(quantiles[..., low] - actual, actual - quantiles[..., high])
        for day in range(actual.shape[1]):
            scores = np.sort(outside[observed[:, day], day])
            if len(scores):
                rank = int(np.ceil((len(scores) + 1) * (levels[high] - levels[low])))
                offsets[day, high] = scores[min(rank, len(scores)) - 1]
                offsets[day, low] = -offsets[day, high]
    return offsets
