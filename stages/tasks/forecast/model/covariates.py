"""What is known of a day before it comes: where it lies in the week and in the year."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_DAYS_IN_YEAR = 365.25
_HARMONICS = 2  # waves a year and half a year long: measured, a third one fits the noise of a few years
SIZES = {"day_of_week": 7, "day_of_year": 2 * _HARMONICS}


def size(names: Sequence[str]) -> int:
    """How many numbers a day has."""
    return sum(SIZES[name] for name in names)


def covariates(days: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Days since 1970-01-01 of any shape `(…)` to `(…, size(names))`, float32.

    `day_of_week` is one-hot, Monday first; `day_of_year` is the sine and the cosine of waves a year and half a year
    long.
    """
    parts = [np.empty((*days.shape, 0))]
    for name in names:
        if name == "day_of_week":
            parts.append(np.eye(7)[(days + 3) % 7])  # 1970-01-01 was a Thursday
        else:
            dates = days.astype("datetime64[D]")
            angle = (dates - dates.astype("datetime64[Y]")).astype(np.float64) * (2 * np.pi / _DAYS_IN_YEAR)
            waves = [wave(k * angle) for k in range(1, _HARMONICS + 1) for wave in (np.sin, np.cos)]
            parts.append(np.stack(waves, axis=-1))
    return np.concatenate(parts, axis=-1).astype(np.float32)
