"""LightGBM as a baseline: the features that it is said to read, and none from after an origin."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest

from stages.tasks.forecast.evaluate import boosting
from stages.tasks.forecast.evaluate.boosting import LAGS, MEANS, MOST_TREES, PATIENCE, SCALE_DAYS, SETTINGS
from stages.tasks.forecast.evaluate.ridge import ridge
from stages.tasks.forecast.model.windows import Windows, rolling_origins, train_origins, validation_origins
from tests.unit.test_forecast_model import model_params
from tests.unit.test_forecast_prepare import prepared

TOLD = model_params(covariates=["day_of_week", "known_columns"], last_year=True)
TEST_DAYS, VALIDATION_DAYS = 21, 14


def values(length: int, seed: int) -> np.ndarray:
    generator, time = np.random.default_rng(seed), np.arange(length)
    return (
        50.0 * seed
        + 10 * np.sin(2 * np.pi * time / 7)
        + 5 * np.sin(2 * np.pi * time / 364)
        + generator.normal(size=length)
    )


def price(length: int) -> np.ndarray:
    return (np.arange(length) % 11).astype(float)


def written(folder: Path, series: Sequence[np.ndarray], missing: Sequence[int] = ()) -> Path:
    """Series from 2020-01-01, all but the `missing` days of the first."""
    lines = ["date,id,y,price"]
    for name, one in zip("ab", series, strict=False):
        cells = zip(one.tolist(), price(len(one)).tolist(), strict=True)
        rows = [f"{date(2020, 1, 1) + timedelta(i)},{name},{y!r},{p}" for i, (y, p) in enumerate(cells)]
        lines += [row for i, row in enumerate(rows) if name != "a" or i not in missing]
    (folder / "raw").mkdir(parents=True)
    (folder / "raw" / "series.csv").write_text("\n".join(lines) + "\n")
    prepared(
        folder / "raw",
        folder / "prepared",
        id_column="id",
        known_columns=["price"],
        validation_days=VALIDATION_DAYS,
        test_days=TEST_DAYS,
    )
    return folder / "prepared"


def forecasts(folder: Path, **changes: Any) -> np.ndarray:
    told = TOLD.model_copy(update=changes)
    splits = (train_origins, validation_origins, rolling_origins(3, 7))
    return boosting.lightgbm(*(Windows(folder, told, origins) for origins in splits))


def features(one: np.ndarray, origin: int, said: Sequence[float], moments: tuple[float, float]) -> list[float]:
    """What the day after `said` is told from, by loops: `said` are answers from the origin on."""
    day, past = origin + len(said), pd.Series([*one[:origin], *said])
    recent = one[max(0, origin - SCALE_DAYS) : origin]
    level, scale = recent.mean(), recent.std()
    back = [past[day - lag] if day >= lag else np.nan for lag in range(1, LAGS + 1)]
    last = past.iloc[max(0, origin - SCALE_DAYS) :]
    row = [(value - level) / scale for value in back]
    row += [(last.iloc[-days:].mean() - level) / scale for days in MEANS]
    before = one[max(0, origin - 364 - SCALE_DAYS) : max(0, origin - 364)]
    for distance in range(-7, 8):
        then = day - 364 - distance
        row.append((one[then] - before.mean()) / scale if then >= 0 and len(before) else np.nan)
    row += [float((date(2020, 1, 1) + timedelta(day)).weekday() == weekday) for weekday in range(7)]
    return np.array([*row, (price(len(one))[day] - moments[0]) / moments[1]]).round(6).tolist()


def by_hand(series: Sequence[np.ndarray], unobserved: Sequence[int] = ()) -> np.ndarray:
    """The same model with LightGBM's own interface, on features made by loops."""
    ends = [(len(one) - TEST_DAYS - VALIDATION_DAYS, len(one) - TEST_DAYS) for one in series]
    known_prices = np.concatenate([price(len(one))[:end] for one, (end, _) in zip(series, ends, strict=True)])
    moments = (known_prices.mean(), known_prices.std())
    parts: list[tuple[list[Any], list[float]]] = [([], []), ([], [])]
    for number, (one, (train_end, validation_end)) in enumerate(zip(series, ends, strict=True)):
        origins = (range(14, train_end - 6), range(train_end, validation_end - 6))
        for (rows, targets), chosen in zip(parts, origins, strict=True):
            for origin in chosen:
                if number or origin not in unobserved:
                    recent = one[max(0, origin - SCALE_DAYS) : origin]
                    rows.append(features(one, origin, [], moments))
                    targets.append((one[origin] - recent.mean()) / recent.std())
    data, held_back = (lightgbm.Dataset(np.array(rows, dtype=np.float32), np.array(targets)) for rows, targets in parts)
    held_back.set_reference(data)
    stop = lightgbm.early_stopping(PATIENCE, verbose=False)
    model = lightgbm.train(SETTINGS, data, MOST_TREES, valid_sets=[held_back], callbacks=[stop])
    found = []
    for one in series:
        for origin in (len(one) - 21, len(one) - 14, len(one) - 7):
            recent = one[max(0, origin - SCALE_DAYS) : origin]
            said: list[float] = []
            for _ in range(7):
                row = np.array([features(one, origin, said, moments)], dtype=np.float32)
                said.append(float(model.predict(row)[0]) * recent.std() + recent.mean())
            found.append(said)
    return np.array(found)


def test_it_is_lightgbm_on_lags_means_the_year_before_and_what_is_known(tmp_path: Path) -> None:
    series = [values(430, 1), values(120, 2)]  # the second is too short for the year before
    found = forecasts(written(tmp_path, series))
    assert found.shape == (6, 7)
    assert np.allclose(found, by_hand(series), rtol=1e-4)


def test_days_that_were_not_observed_are_learned_from_by_nobody(tmp_path: Path) -> None:
    gaps = [40, 41, 80]
    one = values(120, 1)
    filled = one.copy()
    for day in gaps:
        filled[day] = filled[day - 7]
    assert np.allclose(forecasts(written(tmp_path, [one], gaps)), by_hand([filled], gaps), rtol=1e-4)


def test_nothing_after_an_origin_changes_its_forecast_and_twice_the_same_is_the_same_to_the_bit(tmp_path: Path) -> None:
    series = [values(430, 1), values(120, 2)]
    found = forecasts(written(tmp_path / "now", series))
    assert found.tobytes() == forecasts(tmp_path / "now" / "prepared").tobytes()
    later = [one.copy() for one in series]
    for one in later:
        one[-14:] *= 3  # from the second of three origins on
    changed = forecasts(written(tmp_path / "later", later))
    assert changed[[0, 3]].tobytes() == found[[0, 3]].tobytes()
    assert changed[1].tobytes() == found[1].tobytes()
    assert not np.array_equal(changed[2], found[2])  # it has seen the week before it


def test_without_an_observed_validation_day_it_stops_after_a_fixed_number_of_trees(tmp_path: Path) -> None:
    one = values(120, 1)
    validation = range(120 - TEST_DAYS - VALIDATION_DAYS, 120 - TEST_DAYS)
    assert np.isfinite(forecasts(written(tmp_path, [one], [*validation]))).all()


def test_a_missing_library_is_one_line_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Missing:
        def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
            if name == "lightgbm":
                raise OSError("libgomp.so.1: cannot open shared object file: No such file or directory")

    folder = written(tmp_path, [values(120, 1)])
    monkeypatch.delitem(sys.modules, "lightgbm")
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    with pytest.raises(ValueError, match=r"libgomp.so.1: cannot open .*libgomp1.* take lightgbm out of evaluate.base"):
        forecasts(folder)


def test_with_one_training_day_or_none_to_learn_from_each_baseline_says_so(tmp_path: Path) -> None:
    length = 21 + VALIDATION_DAYS + TEST_DAYS  # the shortest that is taken: one training window
    one = values(length, seed=1)
    with pytest.raises(ValueError, match="lightgbm has 1 training days"):
        forecasts(written(tmp_path / "one", [one]))
    missing = written(tmp_path / "none", [one], missing=[14])
    with pytest.raises(ValueError, match="lightgbm has 0 training days"):
        forecasts(missing)
    splits = (train_origins, validation_origins, rolling_origins(3, 7))
    with pytest.raises(ValueError, match="ridge: no training window has"):
        ridge(*(Windows(missing, TOLD, origins) for origins in splits))
