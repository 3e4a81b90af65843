"""The linear path in closed form: what it learns of the calendar, and that it sees nothing later than the origin."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.data.prepared import open_prepared
from stages.models.batch import Batch
from stages.tasks.forecast.data.series import day_number
from stages.tasks.forecast.model.covariates import Covariates, _easter
from stages.tasks.forecast.model.network import build
from stages.tasks.forecast.model.windows import PAST_DAYS, Windows, test_origins, train_origins

from .test_forecast_model import model_params, prepared, tensors

test_origins.__test__ = False  # type: ignore[attr-defined]  # its name is no test's
CLOSED = model_params(linear="closed_form", scale_days=364)
DATED = CLOSED.model_copy(update={"dates": True})
YEARS = 6 * 365 + 2  # 2020 to the end of 2025


def _dated_series() -> np.ndarray:
    """Weeks and noise; 20 December is far below, each year."""
    days = np.arange(np.datetime64("2020-01-01"), np.datetime64("2020-01-01") + YEARS)
    values = 100 + 10 * np.sin(2 * np.pi * np.arange(YEARS) / 7) + np.random.default_rng(0).normal(0, 0.5, YEARS)
    values[[str(day)[5:] == "12-20" for day in days]] -= 60
    return values


def test_easter_is_where_the_church_has_it() -> None:
    found = _easter(np.array([1961, 2000, 2008, 2016, 2019, 2024, 2038]))
    days = [(1961, 4, 2), (2000, 4, 23), (2008, 3, 23), (2016, 3, 27), (2019, 4, 21), (2024, 3, 31), (2038, 4, 25)]
    assert found.tolist() == [day_number(date(*day)) for day in days]


def test_a_date_that_is_no_holiday_is_forecast_from_other_years_where_dates_are_told(tmp_path: Path) -> None:
    folder = prepared(tmp_path, _dated_series())
    errors = {}
    for params in (CLOSED, DATED):
        network = build(params, open_prepared(folder)[1])
        network.fit_without_gradients(Windows(folder, params, train_origins))
        assert network.closed_form is not None
        windows = Windows(folder, params, test_origins)
        batch = windows.batch(np.arange(len(windows)))
        assert batch.targets is not None
        ahead = batch.context["day"][:, None] + torch.arange(7)
        apart = (network.closed_form(batch) - batch.targets).abs() * batch.context["scale"]
        errors[params.dates] = float(apart[ahead == day_number(date(2025, 12, 20))].mean())
    assert errors[True] < 20 < 45 < errors[False]


def test_the_recurrent_part_reads_values_without_the_calendar(tmp_path: Path) -> None:
    folder = prepared(tmp_path, _dated_series())
    network = build(DATED, open_prepared(folder)[1])
    train = Windows(folder, DATED, train_origins)
    network.fit_without_gradients(train)
    batch = train.batch(np.array([1200, 1201]))
    assert network.closed_form is not None
    cleaned = network._without_calendar(batch, network.closed_form).values[..., 0]
    assert torch.equal(cleaned, network.closed_form.without_calendar(batch)[:, -28:])
    assert cleaned.std() < 0.2 * batch.values[..., 0].std()


def test_changing_any_value_after_the_origin_changes_no_input(tmp_path: Path) -> None:
    values = _dated_series()[:600]
    before = Windows(prepared(tmp_path / "a", values), CLOSED, test_origins)
    _, origin = before.locate(3)
    changed = values.copy()
    changed[origin:] = 1e6
    after = Windows(prepared(tmp_path / "b", changed), CLOSED, test_origins)
    one, other = tensors(before.batch(np.array([3]))), tensors(after.batch(np.array([3])))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert one["past"].shape == (1, PAST_DAYS)


def test_a_short_history_is_forecast_alike_alone_and_beside_a_longer_one(tmp_path: Path) -> None:
    folder = prepared(tmp_path, _dated_series()[:700])
    network = build(CLOSED, open_prepared(folder)[1]).eval()
    train = Windows(folder, CLOSED, train_origins)
    network.fit_without_gradients(train)
    alone, beside = network(train.batch(np.array([0]))), network(train.batch(np.array([0, 500])))
    assert torch.isfinite(beside).all()
    torch.testing.assert_close(alone[0], beside[0])


class _PartlyUnseen:
    """Training windows of which every fifth was not observed, and has another target."""

    def __init__(self, train: Windows, wrong: float) -> None:
        self.lengths, self._train, self._wrong = train.lengths, train, wrong

    def __len__(self) -> int:
        return len(self.lengths)

    def name(self, example: int) -> str:
        return self._train.name(example)

    def batch(self, examples: np.ndarray, *, epoch: int | None = None) -> Batch:
        batch = self._train.batch(examples)
        assert batch.targets is not None
        batch.targets[::5] = self._wrong
        batch.context["weights"][::5] = 0
        return batch


def test_days_not_observed_teach_nothing(tmp_path: Path) -> None:
    folder = prepared(tmp_path, _dated_series()[:700])
    weights = []
    for wrong in (1e4, -1e4):
        network = build(CLOSED, open_prepared(folder)[1])
        network.fit_without_gradients(_PartlyUnseen(Windows(folder, CLOSED, train_origins), wrong))
        assert network.closed_form is not None
        weights.append(network.closed_form.weights)
    torch.testing.assert_close(weights[0], weights[1])


def test_a_recursive_network_has_no_closed_form() -> None:
    with pytest.raises(ValueError, match="decoding direct where linear is closed_form"):
        model_params(linear="closed_form", decoding="recursive")


def test_the_table_of_days_holds_all_days_of_the_data() -> None:
    for first, last in (("1968-05-01", "1970-01-01"), ("2059-01-01", "2063-01-01")):
        table = Covariates(CLOSED, {"first_day": first, "last_day": last}).table_days
        assert table[0] < day_number(date.fromisoformat(first)) < day_number(date.fromisoformat(last)) < table[1] - 7
    assert Covariates(CLOSED, {}).table_days == (day_number(date(1990, 1, 1)), day_number(date(2060, 12, 31)))


@pytest.mark.parametrize("before", [np.zeros(100), np.full(50, 500.0)])
def test_a_series_that_begins_with_a_constant_is_forecast_as_without_it(tmp_path: Path, before: np.ndarray) -> None:
    values = 1000 + 100 * np.sin(2 * np.pi * np.arange(900) / 7) + np.random.default_rng(0).normal(0, 20, 900)
    errors = []
    for number, whole in enumerate((values, np.concatenate([before, values]))):
        folder = prepared(tmp_path / str(number), whole)
        network = build(CLOSED, open_prepared(folder)[1])
        network.fit_without_gradients(Windows(folder, CLOSED, train_origins))
        windows = Windows(folder, CLOSED, test_origins)
        batch = windows.batch(np.arange(len(windows)))
        assert batch.targets is not None
        assert network.closed_form is not None
        apart = (network.closed_form(batch) - batch.targets).abs() * batch.context["scale"]
        errors.append(float(apart.mean()))
    assert errors[1] < 1.5 * errors[0]  # it was twenty to eighty times as large
