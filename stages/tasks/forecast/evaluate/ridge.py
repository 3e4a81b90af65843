"""A linear baseline that learns from the same windows as the network: ridge regression, one for each day ahead, over
all series (Hoerl and Kennard, "Ridge Regression", 1970).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ....data.evenly import evenly
from ....models.batch import Batch
from ..data.series import HORIZON
from ..model.windows import Windows

ALPHAS = np.logspace(-2, 4, 13)
_MOST_WINDOWS = 50_000  # that it is fitted to or chosen by; of more, so many evenly over them
_BATCH_SIZE = 1024


def ridge(train: Windows, validation: Windows, test: Windows, *, refit: Windows | None = None) -> np.ndarray:
    """Its forecasts of the test windows, `(windows, 7)` in the series' unit.

    It reads the scaled values of the context and all that the windows tell of the day ahead, but not what was known of
    the context's days. Of a history too short for the year before, its columns are 0, as the network's are, and one
    more says whether they are there. The penalty is the one of ALPHAS with the least mean absolute error of scaled
    values on the validation windows, one for all seven days; the constant is not penalised, days that were not observed
    do not count. Raises ValueError where a day ahead was never observed.
    """
    weights = _fit(train)  # (alphas, 7, features + 1)
    errors, days = np.zeros(len(ALPHAS)), 0.0
    for features, batch in _batches(validation, evenly(len(validation), _MOST_WINDOWS)):
        targets, observed = _targets(batch)
        apart = np.abs(np.einsum("bdf,adf->abd", features, weights) - targets)
        errors += (apart * observed).sum(axis=(1, 2))
        days += observed.sum()
    chosen = int(np.argmin(errors)) if days else len(ALPHAS) // 2
    best = (weights if refit is None else _fit(refit))[chosen]
    forecasts = [
        np.einsum("bdf,df->bd", features, best) * batch.context["scale"].numpy() + batch.context["location"].numpy()
        for features, batch in _batches(test, np.arange(len(test)))
    ]
    return np.concatenate(forecasts)


def _fit(train: Windows) -> np.ndarray:
    """The weights for each penalty, `(alphas, 7, features + 1)`, from sums over the windows: the memory stays flat."""
    size = train.features.context_days + train.features.day_size + 1
    squares, products = np.zeros((HORIZON, size, size)), np.zeros((HORIZON, size))
    for features, batch in _batches(train, evenly(len(train), _MOST_WINDOWS)):
        targets, observed = _targets(batch)
        weighted = features * observed[..., None]
        squares += np.einsum("bdf,bdg->dfg", weighted, features, optimize=True)
        products += np.einsum("bdf,bd->df", weighted, targets)
    if not squares[:, -1, -1].all():  # of each day ahead, how often it was observed
        raise ValueError(
            "the baseline ridge: no training window has an observation for one of the seven days ahead; add data, or "
            "take ridge out of evaluate.baselines"
        )
    penalty = np.eye(size)
    penalty[-1, -1] = 0.0  # the constant
    return np.stack([np.linalg.solve(squares + alpha * penalty, products[..., None])[..., 0] for alpha in ALPHAS])


def _batches(windows: Windows, examples: np.ndarray) -> Iterator[tuple[np.ndarray, Batch]]:
    """The features of some windows, `(batch, 7, features + 1)` float64, yesterday first and last a constant 1; and the
    batch that they are of.
    """
    for start in range(0, len(examples), _BATCH_SIZE):
        batch = windows.batch(examples[start : start + _BATCH_SIZE])
        back = batch.lengths[:, None].numpy() - 1 - np.arange(windows.features.context_days)
        lags = np.take_along_axis(batch.values[..., 0].numpy(), np.maximum(back, 0), axis=1) * (back >= 0)
        lags = np.repeat(lags[:, None], HORIZON, axis=1)
        parts = [lags, batch.context["future"].numpy(), np.ones((*lags.shape[:2], 1))]
        yield np.concatenate(parts, axis=-1).astype(np.float64), batch


def _targets(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """The scaled values, and 1 or 0 for whether they were observed; both `(batch, 7)`, float64."""
    assert batch.targets is not None
    return batch.targets.double().numpy(), batch.context["weights"].double().numpy()
