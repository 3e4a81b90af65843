"""What a practitioner would take first: gradient boosted trees on lags, calendar, holidays and the year before, one
model over all series (LightGBM: Ke et al., 2017).

The model says the next day; the days after it from its own answers, as mlforecast does (recursive). A series is scaled
by the mean and deviation of the last days before each origin. Nothing that comes after an origin reaches a feature.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ....data.evenly import evenly
from ..data.series import HORIZON
from ..model.covariates import standardize
from ..model.windows import YEAR, Windows
from .scores import mean_error

LAGS = 28  # days before the day to forecast
MEANS = (7, 14, 28)  # days before it whose means are features
SCALE_DAYS = 56  # days before an origin whose mean and deviation scale all values
YEAR_LAGS = YEAR + np.arange(-7, 8)  # days before it
SETTINGS = {
    "objective": "huber",  # a series that leaves its level by a hundred deviations would be all that squares see
    "alpha": 1.0,  # deviations up to which errors count by their square
    "boost_from_average": False,  # from the level, 0: with such series the mean of targets is too far off for the trees
    "metric": "l1",
    "learning_rate": 0.03,
    "num_leaves": 15,
    "min_data_in_leaf": 5,  # a holiday comes once a year: with LightGBM's own 20, none is ever told apart
    "feature_fraction": 0.8,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "seed": 1,
    "deterministic": True,  # equal bits on the same machine need one way of building histograms, too:
    "force_col_wise": True,
    "num_threads": 1,  # other baselines are fitted meanwhile
    "verbosity": -1,
}
MOST_TREES, PATIENCE = 1000, 30
UNSTOPPED_TREES = 100  # where no validation day was observed
_MOST_WINDOWS = 50_000  # that it learns from or is stopped by; of more, so many evenly over them


def lightgbm(train: Windows, validation: Windows, test: Windows, *, refit: Windows | None = None) -> np.ndarray:
    """Its forecasts of the test windows, `(windows, 7)` in the series' unit.

    It reads the days before the origin, what the windows' covariates know of a day ahead, and the values about 52 weeks
    before it, less their own level; where a history is too short for one of them, LightGBM is told that it is missing.
    It learns from the days after the training origins; the mean absolute error on the days after the validation origins
    says how many trees; with `refit`, so many are then learned anew from those windows. Raises ValueError where
    LightGBM cannot be loaded, or has fewer than two days to learn from.
    """
    library = _library()
    known, held_back = (_Origins.of(windows, evenly(len(windows), _MOST_WINDOWS)) for windows in (train, validation))
    features, targets = known.examples()
    if len(targets) < 2:  # of one, bagging leaves none
        raise ValueError(
            f"the baseline lightgbm has {len(targets)} training days to learn from; allowed: 2 or more; otherwise take "
            "lightgbm out of evaluate.baselines"
        )
    data, stops = library.Dataset(features, targets), {}
    if held_back.observed.any():
        stops = {
            "valid_sets": [library.Dataset(*held_back.examples(), reference=data)],
            "callbacks": [library.early_stopping(PATIENCE, verbose=False)],
        }
    model = library.train(SETTINGS, data, MOST_TREES if stops else UNSTOPPED_TREES, **stops)
    if refit is not None:
        more = _Origins.of(refit, evenly(len(refit), _MOST_WINDOWS))
        trees = model.best_iteration if stops else UNSTOPPED_TREES
        model = library.train(SETTINGS, library.Dataset(*more.examples()), trees)
    asked = _Origins.of(test, np.arange(len(test)))
    past = asked.past
    for day in range(HORIZON):
        answer = model.predict(asked.features(day, past), num_threads=1)
        past = np.concatenate([past, answer[:, None]], axis=1)
    return past[:, -HORIZON:] * asked.scale + asked.location


def _library() -> Any:
    """LightGBM; torch, which is loaded here, brings the OpenMP that it needs, unless it was built with another one."""
    try:
        import lightgbm
    except OSError as error:
        raise ValueError(
            f"the baseline lightgbm cannot be loaded: {error}; install its library (Debian, Ubuntu: libgomp1; macOS: "
            f"libomp), or take lightgbm out of evaluate.baselines"
        ) from None
    return lightgbm


@dataclass(frozen=True, slots=True, kw_only=True)
class _Origins:
    """What is known at some origins; values are scaled, and NaN where there is none."""

    past: np.ndarray  # (origins, days), of the last days before each, yesterday last
    year: np.ndarray  # (origins, 7, YEAR_LAGS), about the day a year before each day ahead, less the level of then
    known: np.ndarray  # (origins, 7, numbers), of each day ahead
    next_value: np.ndarray  # (origins,), of the first day ahead: what is learned
    observed: np.ndarray  # (origins,) bool, whether it was
    location: np.ndarray  # (origins, 1); a value is `scaled · scale + location`
    scale: np.ndarray

    @classmethod
    def of(cls, windows: Windows, examples: np.ndarray) -> _Origins:
        located = np.array([windows.locate(int(example)) for example in examples]).reshape(-1, 2)
        rows, places = np.unique(located[:, 0], return_inverse=True)
        parts = [_of_series(windows, int(row), located[places == place, 1]) for place, row in enumerate(rows)]
        # Windows lie series after series, and so do the parts.
        past, year, before, known, next_value, observed = (np.concatenate(part) for part in zip(*parts, strict=True))
        location = mean_error(past, axis=1)[:, None]
        scale = np.maximum(np.nanstd(past, axis=1, keepdims=True), 1e-4 * np.abs(location))
        scale[scale == 0] = 1.0
        return cls(
            past=(past - location) / scale,
            year=(year - before[..., None]) / scale[..., None],
            known=known,
            next_value=(next_value - location[:, 0]) / scale[:, 0],
            observed=observed,
            location=location,
            scale=scale,
        )

    def examples(self) -> tuple[np.ndarray, np.ndarray]:
        """Features and targets of the first days ahead that were observed."""
        return self.features(0, self.past)[self.observed], self.next_value[self.observed]

    def features(self, day: int, past: np.ndarray) -> np.ndarray:
        """What a day ahead is told from, `(origins, features)` float32: `past` ends on the day before it."""
        lags = past[:, : -LAGS - 1 : -1]
        means = [mean_error(past[:, -days:], axis=1) for days in MEANS]
        features = np.column_stack([lags, *means, self.year[:, day], self.known[:, day]])
        return features.round(6).astype(np.float32)  # a mean that is 0 but for the order of its sum is no feature


def _of_series(windows: Windows, row: int, origins: np.ndarray) -> tuple[np.ndarray, ...]:
    """Past, year, the year's level, known, next value and whether it was observed, as in `_Origins`, but not scaled."""
    values, observed = (windows.store.sequence(name, row) for name in ("values", "observed"))

    def at(days: np.ndarray) -> np.ndarray:
        return np.where(days >= 0, values[np.maximum(days, 0)], np.nan)

    ahead = origins[:, None] + np.arange(HORIZON)
    covariates = windows.features.covariates
    start = int(windows.store.column("start")[row].astype("datetime64[D]").astype(np.int64))
    known = covariates.calendar(start + ahead)
    if covariates.known_columns:
        columns = windows.store.sequence("known", row)[ahead]
        known = np.concatenate([known, standardize(columns, covariates.known_moments)], axis=-1)
    past = at(origins[:, None] + np.arange(-SCALE_DAYS, 0))
    before = mean_error(at(origins[:, None] - YEAR + np.arange(-SCALE_DAYS, 0)), axis=1)[:, None]
    return past, at(ahead[..., None] - YEAR_LAGS), before, known, at(origins), observed[origins] > 0
