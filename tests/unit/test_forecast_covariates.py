"""Holidays, known and past columns: what is stored, what a network sees of them; none of it is the future."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.data.files import read_json
from stages.data.store import SequenceStore
from stages.models.batch import Batch
from stages.models.weights import save_network
from stages.preprocessing.preparation import PreparationError
from stages.tasks.forecast.data.holidays import holiday_table, names_by_day
from stages.tasks.forecast.data.series import align_covariates, day_number
from stages.tasks.forecast.evaluate.comparison import examples
from stages.tasks.forecast.forecasts import history
from stages.tasks.forecast.model.covariates import Covariates
from stages.tasks.forecast.model.network import build
from stages.tasks.forecast.model.windows import (
    LAST_YEAR_SIZE,
    FeatureEncoder,
    History,
    Windows,
    rolling_origins,
    test_origins,
)
from stages.tasks.forecast.serve.predictor import Predictor
from tests.unit.test_forecast_model import model_params, wave
from tests.unit.test_forecast_prepare import prepared

test_origins.__test__ = False  # type: ignore[attr-defined]  # its name is no test's
LENGTH = 120
HOLIDAYS = {"first_year": 2020, "last_year": 2021, "days": {"A": ["2020-04-10"], "B": ["2020-04-11", "2021-04-11"]}}
FURTHER = {"known_columns": ["price"], "past_columns": ["rain"]}
CHOSEN = ["day_of_week", "known_columns", "past_columns"]


def written(folder: Path, price: np.ndarray, rain: np.ndarray, values: np.ndarray | None = None) -> Path:
    """A prepared series of 120 days from 2020-01-01, of which 85 are to learn from; NaN is written as nothing."""
    columns = (wave() if values is None else values, price, rain)
    texts = [["" if np.isnan(v) else str(v) for v in column] for column in columns]
    lines = [
        ",".join([str(date(2020, 1, 1) + timedelta(i)), *cells]) for i, cells in enumerate(zip(*texts, strict=True))
    ]
    folder.mkdir()
    (folder / "raw").mkdir()
    (folder / "raw" / "series.csv").write_text("\n".join(["date,y,price,rain", *lines]) + "\n")
    prepared(folder / "raw", folder / "prepared", **FURTHER)
    return folder / "prepared"


def test_a_holiday_table_names_days_off_by_their_holiday_and_holds_only_what_has_been() -> None:
    table = holiday_table("US", date(2015, 1, 1), date(2018, 12, 31), date(2019, 12, 31))
    assert (table["first_year"], table["last_year"]) == (1990, 2060)
    days = table["days"]
    assert list(days) == sorted(days)
    assert {"2016-12-25", "2016-12-26", "2060-12-25"} <= set(days["Christmas Day"])  # the 26th is the day off
    assert not any("Juneteenth" in name for name in days)  # since 2021
    assert "2017-11-23" in days["Thanksgiving Day"]
    assert names_by_day(HOLIDAYS)["2021-04-11"] == "B"


def test_a_country_that_is_not_known_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"prepare.holidays: found 'QQ': .*; allowed: a country code that the package holidays knows"
    ):
        holiday_table("QQ", date(2015, 1, 1), date(2018, 12, 31), date(2019, 12, 31))


def test_a_day_is_told_of_the_holidays_around_it() -> None:
    covariates = Covariates(model_params(covariates=["holidays"], holiday_days=1), {"holidays": HOLIDAYS})
    first = day_number(date(2020, 4, 9))
    found = covariates.calendar(np.arange(first, first + 4))
    # for A and then for B: the day before, the day itself, the day after
    assert found.tolist() == [[1, 0, 0, 0, 0, 0], [0, 1, 0, 1, 0, 0], [0, 0, 1, 0, 1, 0], [0, 0, 0, 0, 0, 1]]
    assert covariates.days == (day_number(date(2020, 1, 1)), day_number(date(2021, 12, 31)))


@pytest.mark.parametrize("chosen", ["holidays", "known_columns", "past_columns"])
def test_a_covariate_that_the_data_lacks_is_named(chosen: str) -> None:
    data: dict[str, Any] = {"holidays": None, "known_columns": [], "past_columns": [], "moments": {}}
    with pytest.raises(ValueError, match=f"model.covariates: found {chosen}, but the data has none"):
        FeatureEncoder(model_params(covariates=[chosen]), data)


def test_further_columns_are_put_on_the_series_days() -> None:
    nan = np.nan
    days = np.array([12, 9, 11, 12, 14])
    columns = np.array([[1.0, nan], [7.0, nan], [nan, 5.0], [3.0, nan], [9.0, 6.0]])
    names = ["price", "rain"]
    found = align_covariates(days, columns, names, start=10, length=4, duplicates="mean")
    assert found.values.tolist() == [[7.0, 0.0], [7.0, 5.0], [2.0, 5.0], [2.0, 5.0]]  # day 14 is too late
    assert (found.conflicts, found.example) == (1, "price is 1 and 3 on 1970-01-13")
    assert found.given.tolist() == [[True, False], [False, True], [True, False], [False, False]]
    assert align_covariates(days, columns, names, start=10, length=4, duplicates="last").values[2, 0] == 3.0
    summed = align_covariates(days, columns, names, start=10, length=4, duplicates="sum")
    assert summed.values[2, 0] == 2.0  # a price is not added up


def test_further_columns_are_stored_in_their_unit_and_described_by_their_training_days(tmp_path: Path) -> None:
    price = np.arange(120.0)
    price[5] = np.nan
    raw = tmp_path / "raw"
    raw.mkdir()
    lines = [f"{date(2020, 1, 1) + timedelta(i)},{i % 9},{'' if i == 5 else i},1" for i in range(120)]
    lines[7] = lines[7].replace(",7,1", ",many,1")
    (raw / "series.csv").write_text("\n".join(["date,y,price,rain", *lines]) + "\n")
    store, description, metrics = prepared(raw, tmp_path / "out", **FURTHER)
    assert store.sequence("known", 0)[[4, 5, 6, 7, 8], 0].tolist() == [4.0, 4.0, 6.0, 6.0, 8.0]
    assert store.sequence("past", 0).shape == (120, 1)
    assert metrics["rejected_covariate"] == 1
    assert metrics["repaired_filled_covariate"] == 1 + 2  # the empty price, and both columns of the bad line
    trained = store.sequence("known", 0)[:85, 0]
    assert description["moments"]["price"] == pytest.approx([trained.mean(), trained.std()])
    assert description["moments"]["rain"] == [1.0, 1.0]  # what never changes is not blown up


def test_a_tsf_has_no_further_columns(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.tsf").write_text("")
    with pytest.raises(
        ValueError, match=r"known_columns and past_columns: found \['price'\]; allowed with a .tsf: none"
    ):
        prepared(tmp_path / "raw", tmp_path / "out", known_columns=["price"])


def batch_of(folder: Path, example: int, **values: Any) -> tuple[Batch, int]:
    windows = Windows(folder, model_params(covariates=CHOSEN, **values), test_origins)
    return windows.batch(np.array([example])), windows.locate(example)[1]


def same(one: Batch, other: Batch) -> bool:
    """Whether a network sees the same."""
    names = ("future", "location", "scale")
    return torch.equal(one.values, other.values) and all(torch.equal(one.context[n], other.context[n]) for n in names)


def test_of_known_columns_the_week_ahead_is_seen_and_nothing_after_it_of_past_ones_nothing_ahead(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    price, rain = rng.normal(size=(2, LENGTH))
    before, origin = batch_of(written(tmp_path / "a", price, rain), 3)
    assert origin == 102
    later_price, later_rain = price.copy(), rain.copy()
    later_price[origin + 7 :] = 99.0
    later_rain[origin:] = 99.0
    assert same(before, batch_of(written(tmp_path / "b", later_price, later_rain), 3)[0])
    for name, column in (("price", price), ("rain", rain)):
        changed = column.copy()
        changed[origin + 6 if name == "price" else origin - 1] = 99.0
        new = {"price": price, "rain": rain, name: changed}
        assert not same(before, batch_of(written(tmp_path / name, **new), 3)[0])


def test_a_model_answers_what_the_newest_data_know_of_the_days_ahead(tmp_path: Path) -> None:
    folder = written(tmp_path / "a", np.arange(120.0), np.arange(120.0))
    raw = tmp_path / "a" / "raw" / "series.csv"
    ahead = [f"{date(2020, 4, 30) + timedelta(i)},,{i},\n" for i in range(7)]
    params, description = model_params(covariates=CHOSEN), read_json(folder / "description.json")
    save_network(tmp_path / "w", build(params, description), params, description, prepared=folder, training={})
    model = Predictor(tmp_path / "w")
    for lines, error in ((ahead[:6], "price is missing on 2020-05-06; allowed: rows with it"), (ahead, None)):
        raw.write_text(raw.read_text().partition("2020-04-30")[0] + "".join(lines))
        prepared(raw.parent, folder, **FURTHER)
        answers = model.predict(history(folder, ["y"]), on_error="report")
        if error:
            assert error in answers["error"].iloc[0]
        else:
            assert answers["ds"].dt.strftime("%m-%d").tolist()[::6] == ["04-30", "05-06"]
            assert answers["mean"].notna().all()


def test_a_step_holds_the_value_and_its_covariates_in_units_of_the_training_days(tmp_path: Path) -> None:
    price, rain = np.arange(120.0), np.arange(120.0) ** 2
    folder = written(tmp_path / "a", price, rain)
    batch, origin = batch_of(folder, 3)
    price_mean, price_deviation = price[:85].mean(), price[:85].std()
    rain_mean, rain_deviation = rain[:85].mean(), rain[:85].std()
    assert batch.values.shape == (1, 28, 1 + 7 + 1 + 1)
    last, ahead = batch.values[0, -1], batch.context["future"][0]
    assert last[8].item() == pytest.approx((origin - 1 - price_mean) / price_deviation, rel=1e-5)
    assert last[9].item() == pytest.approx(((origin - 1) ** 2 - rain_mean) / rain_deviation, rel=1e-5)
    assert ahead[:, 7].tolist() == pytest.approx(((np.arange(7) + origin - price_mean) / price_deviation).tolist())


def test_a_year_ago_is_the_same_weekday_and_a_short_history_has_none() -> None:
    params = model_params(covariates=[], last_year=True, scale_days=56)
    features = FeatureEncoder(params, {})
    values = wave(500)
    batch = features.encode([History(values, 1000), History(values[-377:], 1000)])
    assert (features.step_size, features.day_size) == (2, LAST_YEAR_SIZE)
    level, scale = values[500 - 364 - 56 : 500 - 364].mean(), values[-56:].std()
    wanted = (values[500 + 2 - 364 + np.array([-7, -1, 0, 1, 7])] - level) / scale
    assert batch.context["future"][0, 2].tolist() == pytest.approx([*wanted.tolist(), 1.0], rel=1e-4)
    assert batch.values[0, -1, 1].item() == pytest.approx((values[499 - 364] - level) / scale, rel=1e-4)
    assert not batch.context["future"][1].any()  # 377 days: two weeks before the year are not there
    assert not batch.values[1, :, 1].any()


@pytest.mark.parametrize("scaling", ["window", "data", "none"])
def test_a_year_ago_nothing_is_told_of_after_the_origin(tmp_path: Path, scaling: str) -> None:
    values = wave(500)
    changed = np.concatenate([values[:480], np.full(20, 1e6)])
    found = []
    for name, series in (("a", values), ("b", changed)):
        raw = tmp_path / name
        raw.mkdir()
        lines = [f"{date(2020, 1, 1) + timedelta(i)},{v}" for i, v in enumerate(series)]
        (raw / "series.csv").write_text("\n".join(["date,y", *lines]) + "\n")
        prepared(raw, tmp_path / f"{name}-out")
        windows = Windows(tmp_path / f"{name}-out", model_params(last_year=True, scaling=scaling), test_origins)
        assert windows.locate(1)[1] == 480
        found.append(windows.batch(np.array([1])))
    assert same(*found)
    assert found[0].context["future"][0, 0, -1] == 1.0


def test_one_scale_for_all_is_that_of_the_training_days(tmp_path: Path) -> None:
    folder = written(tmp_path / "a", np.zeros(120), np.zeros(120))
    batch = Windows(folder, model_params(covariates=[], scaling="data"), test_origins).batch(np.array([0, 5]))
    trained = wave()[:85]
    assert batch.context["location"][:, 0].tolist() == pytest.approx([trained.mean()] * 2)
    assert batch.context["scale"][:, 0].tolist() == pytest.approx([trained.std()] * 2)


def test_a_day_ahead_becomes_a_step_like_those_of_the_past(tmp_path: Path) -> None:
    folder = written(tmp_path / "a", np.arange(120.0), np.zeros(120))
    windows = Windows(folder, model_params(covariates=CHOSEN, last_year=True), test_origins)
    features = windows.features
    batch = windows.batch(np.array([0]))
    assert batch.targets is not None
    step = features.step(batch.targets[:, 0], batch.context["future"][:, 0])
    next_day = windows.batch(np.array([1]))  # one day later that day is the context's last
    assert step.shape == (1, features.step_size)
    assert torch.allclose(step[0, 1:9], next_day.values[0, -1, 1:9])


def test_columns_are_not_named_as_what_the_model_is_sent(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="names in known_columns and past_columns other than \\['ds'\\]"):
        prepared(tmp_path, tmp_path / "out", known_columns=["ds"])
    with pytest.raises(ValueError, match="named twice"):
        prepared(tmp_path, tmp_path / "out", known_columns=["y"])


def test_holidays_are_described_where_a_country_is_named(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    lines = [f"{date(2020, 1, 1) + timedelta(i)},{i % 9}" for i in range(120)]
    (raw / "series.csv").write_text("\n".join(["date,y", *lines]) + "\n")
    store, description, _ = prepared(raw, tmp_path / "out", holidays="US")
    assert isinstance(store, SequenceStore)
    assert list(description["holidays"]["days"]) == [
        "Martin Luther King Jr. Day",
        "New Year's Day",
        "Washington's Birthday",
    ]
    (raw / "series.csv").write_text("date,y\nnever,1\n")
    with pytest.raises(PreparationError):  # with every line refused there is no day to take holidays of
        prepared(raw, tmp_path / "none", holidays="US")


def test_a_model_with_further_columns_is_asked_with_them_as_it_was_tested(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folder = written(tmp_path / "a", *rng.normal(size=(2, LENGTH)))
    params = model_params(covariates=CHOSEN)
    torch.manual_seed(0)
    network = build(params, read_json(folder / "description.json")).eval()
    for member in network.members:
        torch.nn.init.normal_(member.linear.past, std=0.1)  # type: ignore[union-attr, arg-type]
        torch.nn.init.normal_(member.linear.day, std=0.1)  # type: ignore[union-attr, arg-type]
    save_network(tmp_path / "w", network, params, read_json(folder / "description.json"), prepared=folder, training={})
    asked = examples(folder, tmp_path, np.arange(3))
    assert list(asked.columns) == ["unique_id", "ds", "y", "price", "rain"]
    answers = Predictor(tmp_path / "w").predict(asked)["mean"].to_numpy().reshape(-1, 7)
    windows = Windows(folder, params, rolling_origins(3, 7))
    with torch.inference_mode():
        wanted = network.forecast(windows.batch(np.arange(3)))[..., 0].numpy()
    assert answers == pytest.approx(wanted, rel=1e-5)
