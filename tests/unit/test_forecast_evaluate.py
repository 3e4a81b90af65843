"""The evaluate stage of forecasts: how sure its errors are, and what is said of days, series and quantiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from stages.engine import predict
from stages.preparation import open_prepared
from stages.reporting import Report
from stages.tasks.forecast.evaluate.evaluate import Truth, _worst, evaluate
from stages.tasks.forecast.model.network import Forecaster, build
from stages.tasks.forecast.model.windows import Windows, rolling_origins
from stages.tasks.forecast.params import EvaluateParams, Params
from tests.unit.test_forecast_model import model_params
from tests.unit.test_forecast_prepare import csv_of, days, prepared

MODEL = model_params()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two series of three test weeks each; of the second, some test days are missing."""
    lines = days(100, "a") + [line for i, line in enumerate(days(100, "b")) if i not in (85, 86, 97)]
    prepared(csv_of(tmp_path / "raw", lines), tmp_path / "prepared", id_column="id")
    return tmp_path / "prepared"


@pytest.fixture
def network() -> Forecaster:
    torch.manual_seed(0)
    return build(MODEL, {}).eval()


def reported(folder: Path, network: Forecaster, plots: Path) -> Report:
    settings = EvaluateParams(
        ranks=1, origins=3, origin_step=7, baselines=["naive", "seasonal_naive"], autoets_days=0, processes=1
    )
    params = Params.model_construct(model=MODEL, evaluate=settings, train=cast(Any, None))
    report = Report(plots)
    evaluate(network, folder, params, report)
    return report


def test_errors_by_day_and_series_are_those_of_all_days_that_were_observed(
    folder: Path, network: Forecaster, tmp_path: Path
) -> None:
    report = reported(folder, network, tmp_path / "plots")
    windows = Windows(folder, MODEL, rolling_origins(3, 7))
    forecasts = predict(network, windows, 10, network.forecast)
    actual, seen = (np.stack(part) for part in zip(*(windows.future(i) for i in range(6)), strict=True))
    errors = np.abs(forecasts[..., 0] - actual)
    assert seen.sum() == 39
    metrics = report.metrics
    assert metrics["mae"] == pytest.approx(errors[seen].mean(), abs=1e-5)
    assert metrics["rmse"] == pytest.approx(np.sqrt((errors[seen] ** 2).mean()), abs=1e-5)
    assert metrics["mae_low"] < metrics["mae"] < metrics["mae_high"]
    by_slice = {(part.slice, part.value): part for part in report.parts}
    assert {kind for kind, _ in by_slice} == {"days ahead", "series"}
    for day in range(7):
        part = by_slice["days ahead", str(day + 1)]
        assert part.n == seen[:, day].sum()
        assert part.metric == pytest.approx(metrics[f"mae_day_{day + 1}"], abs=1e-5)
    assert by_slice["series", "b"].n == 18
    assert by_slice["series", "b"].metric == pytest.approx(errors[3:][seen[3:]].mean(), abs=1e-5)
    for row, level in zip(report.calibrated, MODEL.quantiles, strict=True):
        column = forecasts[..., 1 + MODEL.quantiles.index(level)]
        assert (row.expected, row.n) == (level, 39)
        assert row.observed == pytest.approx((actual <= column)[seen].mean())
    drawn = {path.stem for path in (tmp_path / "plots" / "pictures").iterdir()}
    assert drawn == {"calibration", "error_by_day", "forecasts", "mistakes", "slices"}


def test_one_series_is_no_slice_of_its_own(tmp_path: Path, network: Forecaster) -> None:
    prepared(csv_of(tmp_path / "raw", days(100)), tmp_path / "prepared", id_column="id")
    report = reported(tmp_path / "prepared", network, tmp_path / "plots")
    assert {part.slice for part in report.parts} == {"days ahead"}
    assert len(open_prepared(tmp_path / "prepared")[0]) == 1


def test_the_largest_errors_come_from_different_groups_and_count_in_units_of_their_series() -> None:
    actual = np.zeros((5, 7))
    mean = np.repeat([[5.0], [9.0], [8.0], [70.0], [1.0]], 7, axis=1)
    truth = Truth(
        actual=actual,
        observed=np.ones((5, 7), dtype=bool),
        rows=np.array([0, 0, 0, 1, 0]),
        groups=np.array([0, 1, 1, 2, 3]),
    )
    assert _worst(truth, mean, np.array([1.0, 10.0]), 3).tolist() == [1, 3, 0]
    assert _worst(truth, mean, np.array([1.0, np.nan]), 2).tolist() == [3, 1]
