"""The evaluate stage of forecasts: how sure its errors are, and what is said of days, series and quantiles."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from stages.data.prepared import open_prepared
from stages.evaluation.report import Report
from stages.tasks.forecast.evaluate import baselines as baselines_module
from stages.tasks.forecast.evaluate import evaluate as evaluate_module
from stages.tasks.forecast.evaluate.baselines import STATISTICS, chosen_fits, fit_seconds, statistics
from stages.tasks.forecast.evaluate.boosting import lightgbm
from stages.tasks.forecast.evaluate.evaluate import _largest_errors, evaluate, fully_told
from stages.tasks.forecast.evaluate.ridge import ALPHAS, ridge
from stages.tasks.forecast.evaluate.scores import Actuals, baseline_scores, point_scores, skill
from stages.tasks.forecast.model.network import Forecaster, build
from stages.tasks.forecast.model.windows import Windows, rolling_origins, train_origins, validation_origins
from stages.tasks.forecast.params import EvaluateParams, Params
from stages.training.inference import predict
from tests.unit.test_forecast_model import model_params
from tests.unit.test_forecast_prepare import csv_of, days, prepared

MODEL = model_params()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two series of three test weeks each; of the second, some test days are missing."""
    tmp_path = tmp_path_factory.mktemp("series")
    lines = days(100, "a") + [line for i, line in enumerate(days(100, "b")) if i not in (85, 86, 97)]
    prepared(csv_of(tmp_path / "raw", lines), tmp_path / "prepared", id_column="id")
    return tmp_path / "prepared"


@pytest.fixture(scope="module")
def network() -> Forecaster:
    torch.manual_seed(0)
    return build(MODEL, {}).eval()


def reported(folder: Path, network: Forecaster, plots: Path, **changed: Any) -> Report:
    settings = EvaluateParams(
        ranks=1,
        origins=3,
        origin_step=7,
        baselines=["naive", "seasonal_naive"],
        autoets_days=0,
        processes=1,
        baseline_minutes=2,
    )
    settings = settings.model_copy(update=changed)
    params = Params.model_construct(model=MODEL, evaluate=settings, train=cast(Any, None))
    report = Report(plots)
    evaluate(network, folder, params, report)
    return report


@pytest.fixture(scope="module")
def report(folder: Path, network: Forecaster, tmp_path_factory: pytest.TempPathFactory) -> Report:
    return reported(folder, network, tmp_path_factory.mktemp("report"))


def test_errors_by_day_and_series_are_those_of_all_days_that_were_observed(
    folder: Path, network: Forecaster, report: Report
) -> None:
    windows = Windows(folder, MODEL, rolling_origins(3, 7))
    forecasts = predict(network, windows, 10, network.forecast)
    actual, seen = (np.stack(part) for part in zip(*(windows.future(i) for i in range(6)), strict=True))
    errors = np.abs(forecasts[..., 0] - actual)
    assert seen.sum() == 39
    metrics = report.metrics
    assert metrics["mae"] == pytest.approx(errors[seen].mean(), abs=1e-5)
    assert metrics["rmse"] == pytest.approx(np.sqrt((errors[seen] ** 2).mean()), abs=1e-5)
    assert metrics["mae_low"] < metrics["mae"] < metrics["mae_high"]
    by_slice = {(part.slice, part.value): part for part in report.slices}
    assert {kind for kind, _ in by_slice} == {"days ahead", "series", "weekday"}
    for day in range(7):
        part = by_slice["days ahead", str(day + 1)]
        assert part.n == seen[:, day].sum()
        assert part.metric == pytest.approx(metrics[f"mae_day_{day + 1}"], abs=1e-5)
    assert by_slice["series", "b"].n == 18
    assert by_slice["series", "b"].metric == pytest.approx(errors[3:][seen[3:]].mean(), abs=1e-5)
    for row, level in zip(report.calibration, MODEL.quantiles, strict=True):
        column = forecasts[..., 1 + MODEL.quantiles.index(level)]
        assert (row.expected, row.n) == (level, 39)
        assert row.observed == pytest.approx((actual <= column)[seen].mean())
    drawn = {path.stem for path in (report.folder / "pictures").iterdir()}
    assert drawn == {"calibration", "error_by_day", "forecasts", "mistakes", "slices"}


def test_a_forecast_of_each_observed_day_is_written_with_its_date_and_band(report: Report) -> None:
    with (report.folder / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    values = {tuple(line.split(",")[:2]): float(line.split(",")[2]) for name in "ab" for line in days(100, name)}
    assert [float(row["actual"]) for row in rows] == [values[row["ds"], row["unique_id"]] for row in rows]
    assert len({(row["ds"], row["unique_id"]) for row in rows}) == 39
    first = min(date.fromisoformat(row["ds"]) for row in rows)
    assert all((date.fromisoformat(row["ds"]) - first).days % 7 + 1 == int(row["day_ahead"]) for row in rows)
    errors = [abs(float(row["actual"]) - float(row["predicted"])) for row in rows]
    assert np.mean(errors) == pytest.approx(report.metrics["mae"], abs=1e-5)
    inside = [float(row["q05"]) <= float(row["actual"]) <= float(row["q95"]) for row in rows]
    assert np.mean(inside) == pytest.approx(report.metrics["coverage_90"], abs=1e-5)
    assert all(float(row["q05"]) <= float(row["q50"]) <= float(row["q95"]) for row in rows)


def test_ridge_is_scikit_learns_with_the_penalty_that_suits_the_validation_days(folder: Path) -> None:
    parts = [Windows(folder, MODEL, origins) for origins in (train_origins, validation_origins, rolling_origins(3, 7))]
    found = ridge(*parts)
    batches = [windows.batch(np.arange(len(windows))) for windows in parts]
    inputs, targets, weights = [], [], []
    for batch in batches:
        lags = np.zeros((len(batch.lengths), MODEL.context_days))
        for row, length in enumerate(batch.lengths.tolist()):
            lags[row, :length] = batch.values[row, :length, 0].numpy()[::-1]  # yesterday first
        inputs.append(np.concatenate([np.repeat(lags[:, None], 7, axis=1), batch.context["future"].numpy()], axis=-1))
        targets.append(cast(torch.Tensor, batch.targets).numpy())
        weights.append(batch.context["weights"].numpy())
    wanted, errors = [], []
    for alpha in ALPHAS:
        days = [Ridge(alpha).fit(inputs[0][:, d], targets[0][:, d], weights[0][:, d]) for d in range(7)]
        said = [np.stack([day.predict(part[:, d]) for d, day in enumerate(days)], axis=1) for part in inputs[1:]]
        errors.append((np.abs(said[0] - targets[1]) * weights[1]).sum())
        context = batches[2].context
        wanted.append(said[1] * context["scale"].numpy() + context["location"].numpy())
    assert np.allclose(found, wanted[int(np.argmin(errors))], atol=1e-4)


def test_learned_baselines_are_told_all_that_the_data_knows_whatever_the_network_is_told(
    folder: Path, network: Forecaster, tmp_path: Path
) -> None:
    told = fully_told(MODEL.model_copy(update={"covariates": []}), {"holidays": None, "known_columns": ["price"]})
    assert (told.covariates, told.last_year) == (["day_of_week", "day_of_year", "known_columns"], True)
    metrics = reported(folder, network, tmp_path, baselines=["lightgbm", "ridge"]).metrics
    splits = (train_origins, validation_origins, rolling_origins(3, 7))
    year = MODEL.model_copy(update={"covariates": ["day_of_week", "day_of_year"], "last_year": True})
    parts = [Windows(folder, year, origins) for origins in splits]
    actual, seen = (np.stack(part) for part in zip(*(parts[2].future(i) for i in range(6)), strict=True))
    for name, forecast in {"lightgbm": lightgbm(*parts), "ridge": ridge(*parts)}.items():
        assert metrics[f"baseline_{name}_mae"] == pytest.approx(np.abs(forecast - actual)[seen].mean(), abs=1e-5)
        assert metrics[f"skill_{name}"] == pytest.approx(1 - metrics["mae"] / metrics[f"baseline_{name}_mae"], abs=1e-4)


def test_ridge_reads_nothing_of_a_year_that_a_short_history_has_not(folder: Path) -> None:
    splits = (train_origins, validation_origins, rolling_origins(3, 7))  # of 100 days
    found = [
        ridge(*(Windows(folder, MODEL.model_copy(update={"last_year": year}), origins) for origins in splits))
        for year in (False, True)
    ]
    assert np.allclose(found[0], found[1], atol=1e-6)


def test_skill_is_the_share_of_the_baselines_error_that_is_saved(report: Report) -> None:
    metrics = report.metrics
    for name in ("naive", "seasonal_naive"):
        assert metrics[f"skill_{name}"] == pytest.approx(1 - metrics["mae"] / metrics[f"baseline_{name}_mae"], abs=1e-4)
        assert metrics[f"skill_{name}_low"] <= metrics[f"skill_{name}"] <= metrics[f"skill_{name}_high"]


def test_every_score_is_told_by_days_ahead_and_by_series(report: Report) -> None:
    metrics = report.metrics
    with (report.folder / "slices.csv").open() as file:
        rows = {(row["slice"], row["value"]): row for row in csv.DictReader(file)}
    for name in ("rmse", "mase", "smape", "wql", "coverage_90"):
        assert {value for kind, value in rows if kind == f"series: {name}"} == {"a", "b"}
        if name in ("mase", "coverage_90"):  # means, so that those of the days add up to the whole
            days = [rows[f"days ahead: {name}", str(day)] for day in range(1, 8)]
            mean = sum(float(d["metric"]) * int(d["n"]) for d in days) / sum(int(d["n"]) for d in days)
            assert mean == pytest.approx(metrics[name], abs=1e-4)


def test_the_baselines_of_statsforecast_are_fitted_to_each_past() -> None:
    weeks = np.tile([1.0, 2.0, 3.0, 4.0, 5.0, 9.0, 8.0], 6) + np.linspace(0, 0.1, 42)
    for name in STATISTICS:
        found, failed = statistics(name, [weeks, 10 * weeks])
        assert (found.shape, failed) == ((2, 7), 0)
        assert found[0] == pytest.approx(weeks[-7:], abs=0.2)
        assert found[1] == pytest.approx(10 * weeks[-7:], abs=2)


def test_one_series_is_no_slice_of_its_own(tmp_path: Path, network: Forecaster) -> None:
    prepared(csv_of(tmp_path / "raw", days(100)), tmp_path / "prepared", id_column="id")
    report = reported(tmp_path / "prepared", network, tmp_path / "plots")
    assert {part.slice for part in report.slices} == {"days ahead", "weekday"}
    assert len(open_prepared(tmp_path / "prepared")[0]) == 1


def test_the_largest_errors_come_from_different_groups_and_count_in_units_of_their_series() -> None:
    mean = np.repeat([[5.0], [9.0], [8.0], [70.0], [1.0]], 7, axis=1)
    actuals = Actuals(
        values=np.zeros((5, 7)),
        observed=np.ones((5, 7), dtype=bool),
        series=np.array([0, 0, 0, 1, 0]),
        groups=np.array([0, 1, 1, 2, 3]),
        days=np.zeros((5, 7), dtype=int),
        scales=np.array([1.0, 10.0]),
    )
    assert _largest_errors(actuals, mean, 3).tolist() == [1, 3, 0]
    assert _largest_errors(replace(actuals, scales=np.array([1.0, np.nan])), mean, 2).tolist() == [3, 1]


def test_so_many_fits_as_take_two_cores_some_minutes_are_made_evenly_and_by_no_clock() -> None:
    sample = list(range(1096, 1096 + 51 * 7, 7))  # of params.yaml: all of its fits are made
    assert chosen_fits(["autoets", "autotheta"], sample, 2).tolist() == list(range(51))
    shops = [4000] * 204
    chosen = chosen_fits(["autoets"], shops, 2)
    assert len(chosen) == 120  # of 2 s each, on two cores
    assert sum(fit_seconds("autoets", 4000) for _ in chosen) == pytest.approx(2 * 60 * 2)
    assert set(np.diff(chosen)) <= {1, 2}
    assert len(chosen_fits(["autoets", "autotheta"], shops, 2)) == 24
    assert len(chosen_fits(["autoets"], shops, 0)) == 204
    assert len(chosen_fits(["autoets"], shops, 0.001)) == 1
    assert chosen_fits([], shops, 2).tolist() == list(range(204))


def test_fits_that_are_left_out_are_counted_and_said(
    folder: Path,
    network: Forecaster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[int] = []

    @contextmanager
    def at_once(names: Any, histories: Any, *, processes: int) -> Iterator[Any]:
        asked.append(len(histories))
        yield lambda name: (np.stack([baselines_module.seasonal_naive(history) for history in histories]), 0)

    monkeypatch.setattr(evaluate_module, "statistics_in_background", at_once)
    seconds = sum(fit_seconds("autoets", days) for days in (79, 86, 93) * 2)
    found = reported(
        folder, network, tmp_path, baselines=["seasonal_naive", "autoets"], baseline_minutes=seconds / 120 / 2
    )
    assert asked == [3]
    assert (found.metrics["autoets_left_out_fits"], found.metrics["autoets_failed_fits"]) == (3, 0)
    said = capsys.readouterr().err
    assert "AutoETS: 3 fits in 1 processes, about 0 s; 3 more are skipped, since evaluate.baseline_minutes is" in said
    whole = reported(folder, network, tmp_path / "whole", baselines=["seasonal_naive", "autoets"])
    assert "autoets_left_out_fits" not in whole.metrics
    assert whole.metrics["baseline_autoets_mae"] == whole.metrics["baseline_seasonal_naive_mae"]
    assert asked == [3, 6]
    assert capsys.readouterr().err == "AutoETS: 6 fits in 1 processes, about 0 s\n"


def test_a_baseline_at_some_origins_stands_to_the_network_as_it_does_there() -> None:
    generator = np.random.default_rng(0)
    actuals = Actuals(
        values=generator.normal(10, 1, (6, 7)),
        observed=np.ones((6, 7), dtype=bool),
        days=np.arange(42).reshape(6, 7),
        series=np.zeros(6, dtype=int),
        groups=np.arange(6),
        scales=np.array([2.0]),
    )
    mean = actuals.values + np.array([1, 1, 1, 5, 5, 5])[:, None]  # the origins without fits are the hard ones
    baseline = np.where(np.arange(6)[:, None] < 3, actuals.values + 2.0, np.nan)
    points, found = baseline_scores(actuals, mean, baseline)
    assert found.value() == pytest.approx(0.5)
    assert points["mae"] == pytest.approx(2.0 * 3.0)  # 2 beside the network's 1, which is 3 over all
    assert points["mase"] == pytest.approx(3.0)
    full = actuals.values + 2.0
    points, found = baseline_scores(actuals, mean, full)
    assert points == {name: score.value() for name, score in point_scores(actuals, full).items() if name != "rmse"}
    assert found.value() == skill(actuals, mean, full).value()
