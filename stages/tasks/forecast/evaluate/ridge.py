"""A linear baseline that learns from the same windows as the network: ridge regression, one for each day ahead, over
all series (Hoerl and Kennard, "Ridge Regression", 1970).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ....evaluation.bootstrap import evenly
from ..data.series import HORIZON
from ..model.windows import Windows

ALPHAS = np.logspace(-2, 4, 13)
_MOST_WINDOWS = 50_000  # that it is fitted to or chosen by; of more, so many evenly over them
_BATCH_SIZE = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class _Examples:
    """Windows as a regression reads them, float64."""

    features: np.ndarray  # (windows, 7, features + 1), the last one 1
    targets: np.ndarray  # (windows, 7), scaled
    observed: np.ndarray  # (windows, 7), 1 or 0
    location: np.ndarray  # (windows, 1)
    scale: np.ndarray  # (windows, 1)


def ridge(train: Windows, validation: Windows, test: Windows) -> np.ndarray:
    """Its forecasts of the test windows, `(windows, 7)` in the series' unit.

    It reads the scaled values of the context and all that the windows tell of the day ahead, but not what was known of
    the context's days. The penalty is the one of ALPHAS with the least
    mean absolute error of scaled values on the validation windows, one for all seven days; the constant is not
    penalised, days that were not observed do not count.
    """
    weights = _fitted(train)  # (alphas, 7, features + 1)
    errors, days = np.zeros(len(ALPHAS)), 0.0
    for some in _batches(validation, evenly(len(validation), _MOST_WINDOWS)):
        apart = np.abs(np.einsum("bdf,adf->abd", some.features, weights) - some.targets)
        errors += (apart * some.observed).sum(axis=(1, 2))
        days += some.observed.sum()
    best = weights[int(np.argmin(errors)) if days else len(ALPHAS) // 2]
    forecasts = [
        np.einsum("bdf,df->bd", some.features, best) * some.scale + some.location
        for some in _batches(test, np.arange(len(test)))
    ]
    return np.concatenate(forecasts)


def _fitted(train: Windows) -> np.ndarray:
    """The weights for each penalty, `(alphas, 7, features + 1)`, from sums over the windows: the memory stays flat."""
    squares: np.ndarray | float = 0.0
    products: np.ndarray | float = 0.0
    for some in _batches(train, evenly(len(train), _MOST_WINDOWS)):
        weighted = some.features * some.observed[..., None]
        squares = squares + np.einsum("bdf,bdg->dfg", weighted, some.features, optimize=True)
        products = products + np.einsum("bdf,bd->df", weighted, some.targets)
    assert isinstance(squares, np.ndarray)
    assert isinstance(products, np.ndarray)
    penalty = np.eye(squares.shape[-1])
    penalty[-1, -1] = 0.0  # the constant
    return np.stack([np.linalg.solve(squares + alpha * penalty, products[..., None])[..., 0] for alpha in ALPHAS])


def _batches(windows: Windows, chosen: np.ndarray) -> Iterator[_Examples]:
    """The chosen windows, some at a time."""
    longest = windows.inputs.context_days
    for start in range(0, len(chosen), _BATCH_SIZE):
        batch = windows.batch(chosen[start : start + _BATCH_SIZE])
        assert batch.targets is not None
        back = batch.lengths[:, None].numpy() - 1 - np.arange(longest)
        lags = np.take_along_axis(batch.values[..., 0].numpy(), np.maximum(back, 0), axis=1) * (back >= 0)
        lags = np.repeat(lags[:, None], HORIZON, axis=1)
        parts = [lags, batch.context["future"].numpy(), np.ones((*lags.shape[:2], 1))]
        yield _Examples(
            features=np.concatenate(parts, axis=-1).astype(np.float64),
            targets=batch.targets.double().numpy(),
            observed=batch.context["weights"].double().numpy(),
            location=batch.context["location"].numpy(),
            scale=batch.context["scale"].numpy(),
        )
