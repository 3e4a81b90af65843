"""What the registered model answers, and what it says of a series it cannot answer."""

from __future__ import annotations

import math
from contextlib import nullcontext
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from stages.data.files import read_json
from stages.data.prepared import open_prepared
from stages.models.weights import save_network
from stages.preprocessing.preparation import Preparation, PreparationError
from stages.serving.predictor import InvalidRows
from stages.tasks.forecast.model.network import build
from stages.tasks.forecast.params import ModelParams
from stages.tasks.forecast.prepare.prepare import prepare
from stages.tasks.forecast.rows import example
from stages.tasks.forecast.serve.predictor import Predictor
from tests.unit.test_forecast_prepare import prepare_params

PARAMS = ModelParams(
    kind="gru",
    decoding="direct",
    blend="none",
    members=1,
    hidden_size=4,
    layers=1,
    channels=1,
    kernel_size=1,
    dropout=0.0,
    recurrent_dropout=0.0,
    layer_norm=False,
    truncation=0,
    context_days=28,
    scaling="window",
    scale_days=28,
    covariates=["day_of_year"],
    holiday_days=0,
    last_year=False,
    linear="learned",
    dates=False,
    quantiles=[0.05, 0.5, 0.95],
)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(1)
    save_network(
        folder, build(PARAMS, {}), PARAMS, {"max_gap_days": 10, "duplicates": "refuse"}, prepared=folder, training={}
    )
    return Predictor(folder)


def series(name: object, start: str = "2015-01-01", count: int = 30, step: str = "D") -> pd.DataFrame:
    days = pd.date_range(start, periods=count, freq=step)
    return pd.DataFrame({"unique_id": name, "ds": days, "y": 20.0 + np.sin(np.arange(count))})


def test_seven_days_after_each_series_own_last_day(predictor: Predictor) -> None:
    frame = pd.concat([series("b"), series("a", "2000-02-01", 28)])
    found = predictor.predict(frame)
    assert found.columns.tolist() == ["unique_id", "ds", "mean", "q05", "q50", "q95"]
    assert found["unique_id"].tolist() == ["b"] * 7 + ["a"] * 7
    assert found["ds"].dt.strftime("%m-%d").tolist()[5:9] == ["02-05", "02-06", "02-29", "03-01"]
    assert (found["q05"] < found["q50"]).all()
    assert (found["q50"] < found["q95"]).all()


def test_ids_are_the_texts_that_a_csv_of_them_holds(predictor: Predictor) -> None:
    names: list[list[Any]] = [
        ["S1", "S1 ", "\tS1"],
        [1, "1", np.int8(1), " 1"],
        [1.0, Decimal("1.0")],
        [True, np.bool_(True), "True"],
    ]
    for group in names:
        rows = pd.concat([series(name).iloc[number :: len(group)] for number, name in enumerate(group)])
        found = predictor.predict(rows.astype({"unique_id": object}))
        assert found["unique_id"].tolist() == [str(group[0])] * 7
    apart = pd.concat([series(name) for name in (1, 1.0, True)])
    frame = apart.assign(unique_id=pd.Series([1] * 30 + [1.0] * 30 + [True] * 30, dtype=object).to_numpy())
    assert predictor.predict(frame)["unique_id"].tolist() == ["1"] * 7 + ["1.0"] * 7 + ["True"] * 7


@pytest.mark.parametrize(
    "name", [None, math.nan, np.nan, pd.NA, pd.NaT, "", " \t", Decimal("NaN"), np.datetime64("NaT")]
)
def test_rows_without_an_id_are_one_item(predictor: Predictor, name: object) -> None:
    frame = pd.concat([series("a"), series("b"), series("c")])
    frame["unique_id"] = pd.Series(["a"] * 30 + [name] * 30 + [None] * 30, dtype=object).to_numpy()
    found = predictor.predict(frame, on_error="report")
    assert found["unique_id"].tolist()[:7] == ["a"] * 7
    assert found["error"].tolist()[7:] == ["unique_id is missing; allowed: a name for each series"]


@pytest.mark.parametrize(
    ("value", "shown"), [(1j, "1j"), (Decimal("sNaN"), "Decimal('sNaN')"), (pd.Timedelta(1), "Time")]
)
def test_a_value_that_is_no_number_fails_its_own_series(predictor: Predictor, value: object, shown: str) -> None:
    frame = pd.concat([series("a"), series("b")]).astype({"y": object}).reset_index(drop=True)
    frame.loc[45, "y"] = pd.Series([value], dtype=object)[0]
    found = predictor.predict(frame, on_error="report")
    assert found["unique_id"].tolist() == ["a"] * 7 + ["b"]
    assert f"y is {shown}" in found["error"].iloc[7]


def test_a_column_that_stands_there_twice_is_refused(predictor: Predictor) -> None:
    frame = pd.concat([series("a"), series("a")[["y"]] + 1], axis=1)
    with pytest.raises(ValueError, match=r"duplicate columns: \['y'\]"):
        predictor.predict(frame)


def test_order_of_rows_repeated_rows_and_company_change_nothing(predictor: Predictor) -> None:
    frame = series("a")
    alone = predictor.predict(frame)
    mixed = pd.concat([series("b", count=200), frame.sample(frac=1, random_state=1), frame.head(3)])
    beside = predictor.predict(mixed).query("unique_id == 'a'")
    pd.testing.assert_frame_equal(alone, beside.reset_index(drop=True), rtol=1e-6)


def test_a_series_is_one_whatever_blanks_stand_around_its_name(predictor: Predictor) -> None:
    frame = series("a", count=60)
    spelled = frame.assign(unique_id=["a ", "a", " a"] * 20)
    pd.testing.assert_frame_equal(predictor.predict(spelled), predictor.predict(frame))


@pytest.mark.parametrize("form", ["text", "date", "zone", "noon"])
def test_dates_in_any_usual_form(predictor: Predictor, form: str) -> None:
    frame = series("a")
    forms = {
        "text": frame["ds"].astype(str),
        "date": frame["ds"].dt.date,
        "zone": frame["ds"].dt.tz_localize("America/Chicago"),
        "noon": frame["ds"] + pd.Timedelta(hours=12),
    }
    pd.testing.assert_frame_equal(predictor.predict(frame.assign(ds=forms[form])), predictor.predict(frame))


@pytest.mark.parametrize(
    "form",
    [
        lambda day, offset: f"{day:%Y-%m-%d}T00:00:00{offset}",
        lambda day, offset: f"{day:%Y-%m-%d} 23:30{offset.replace(':', '')}",
        lambda day, offset: f"{day:%Y-%m-%d}T00:30:00.5{'Z' if offset == '+01:00' else offset}",
        lambda day, offset: datetime.fromisoformat(f"{day:%Y-%m-%d}T00:00:00{offset}"),
    ],
)
def test_the_day_is_that_of_its_own_clock_in_winter_and_in_summer(predictor: Predictor, form: Any) -> None:
    frame = series("berlin", "2023-10-15")
    offsets = np.where(frame["ds"] < "2023-10-29", "+02:00", "+01:00")
    zoned = [form(day, str(offset)) for day, offset in zip(frame["ds"], offsets, strict=True)]
    mixed = frame.assign(ds=pd.Series(zoned, dtype=object))
    pd.testing.assert_frame_equal(predictor.predict(mixed), predictor.predict(frame))


@pytest.mark.parametrize("rule", ["refuse", "first", "last", "mean", "sum"])
def test_several_values_a_day_become_one_as_in_training(tmp_path: Path, rule: str) -> None:
    """The same readings, prepared and asked with: the registered model reads the series that it was trained on."""
    frame = pd.concat([series("a", count=60), series("a", count=60).assign(y=lambda f: f["y"] + 3)])
    (tmp_path / "raw").mkdir()
    frame.to_csv(tmp_path / "raw" / "series.csv", index=False, date_format="%Y-%m-%d")
    params = prepare_params(date_columns=["ds"], id_column="unique_id", duplicates=rule)
    with (
        pytest.raises(PreparationError) if rule == "refuse" else nullcontext() as refused,
        Preparation(tmp_path / "prepared", max_rejected_share=0.0) as output,
    ):
        prepare(tmp_path / "raw", params, output)
    description = read_json(tmp_path / "prepared" / "description.json")
    assert description["duplicates"] == rule
    save_network(tmp_path, build(PARAMS, {}), PARAMS, description, prepared=tmp_path, training={})
    (item,) = (predictor := Predictor(tmp_path)).to_items(frame)
    if refused:
        with pytest.raises(ValueError, match="; allowed: one value per day") as asked:
            predictor.read(item)
        assert str(asked.value) in str(refused.value)
    else:
        _, history = predictor.read(item)
        assert history.values.tolist() == open_prepared(tmp_path / "prepared")[0].sequence("values", 0).tolist()


def test_a_missing_day_is_filled_as_in_training(predictor: Predictor) -> None:
    frame = series("a")
    filled = frame.assign(y=frame["y"].where(frame.index != 20, float(frame["y"].iloc[13])))
    pd.testing.assert_frame_equal(predictor.predict(frame.drop(index=20)), predictor.predict(filled))


def bad_series() -> dict[str, tuple[pd.DataFrame, str]]:
    frame = series("bad")
    return {
        "short": (frame.head(13), "13 days; allowed: at least 14"),
        "weekly": (series("bad", step="7D"), "one value every 7 days; allowed: one per day"),
        "hourly": (series("bad", step="h"), "on 2015-01-01, the first of 2 such days; allowed: one value per day"),
        "missing": (frame.assign(y=frame["y"].where(frame.index != 4)), "y is nan on 2015-01-05"),
        "infinite": (frame.assign(y=frame["y"].where(frame.index != 4, np.inf)), "y is inf on 2015-01-05"),
        "words": (frame.assign(y="many"), "y is many on 2015-01-01; allowed: finite numbers"),
        "constant": (frame.assign(y=3.0), "every value is 3; allowed: series whose values vary"),
        "conflict": (
            pd.concat([frame, frame.tail(1).assign(y=5.0)]),
            "5 and 19.336366115787 on 2015-01-30; allowed: one value per day",
        ),
        "old": (pd.concat([frame, series("bad", "2015-06-01", 5)]), "5 days after the last gap of more than 10 days"),
        "numbers": (frame.assign(ds=range(30)), "ds holds numbers, such as 0"),
        "us dates": (frame.assign(ds=frame["ds"].dt.strftime("%m/%d/%Y")), "ds holds '01/01/2015'"),
        "commas": (
            frame.assign(y="151,65"),
            "finite numbers (leave a missing day out: it is filled from the same weekday",
        ),
        "blank": (frame.assign(unique_id=" "), "unique_id is missing; allowed: a name for each series"),
        "nameless": (frame.assign(unique_id=None), "unique_id is missing"),
    }


@pytest.mark.parametrize("case", list(bad_series()))
def test_a_bad_series_is_named_and_the_others_are_answered(predictor: Predictor, case: str) -> None:
    bad, reason = bad_series()[case]
    if bad["ds"].dtype != series("good")["ds"].dtype:  # one column holds one type: ask alone
        frame, good = bad, 0
    else:
        frame, good = pd.concat([series("good"), bad]), 7
    with pytest.raises(InvalidRows) as caught:
        predictor.predict(frame)
    assert reason in str(caught.value)
    found = predictor.predict(frame, on_error="report")
    assert found["error"].isna().sum() == good
    assert reason in found["error"].iloc[-1]
    assert np.isnan(found["mean"].iloc[-1])


FURTHER = {
    "max_gap_days": 10,
    "duplicates": "refuse",
    "known_columns": ["price"],
    "past_columns": ["rain"],
    "moments": {"price": [2.0, 1.0], "rain": [0.0, 1.0]},
    "holidays": {"first_year": 2014, "last_year": 2016, "days": {"New Year's Day": ["2015-01-01"]}},
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """A model that is told a price of all days, the rain of those that have been, and holidays."""
    folder = tmp_path_factory.mktemp("told")
    params = PARAMS.model_copy(update={"covariates": ["holidays", "known_columns", "past_columns"]})
    torch.manual_seed(1)
    network = build(params, FURTHER)
    for member in network.members:
        torch.nn.init.constant_(member.linear.day, 0.5)  # type: ignore[union-attr, arg-type]
        torch.nn.init.constant_(member.linear.past, 0.01)  # type: ignore[union-attr, arg-type]
    save_network(folder, network, params, FURTHER, prepared=folder, training={})
    assert Predictor.extra_inputs(folder) == {"price": "any", "rain": "any"}
    return Predictor(folder)


def told_series(name: str = "a", start: str = "2015-01-01") -> pd.DataFrame:
    """30 days with price and rain, and seven days ahead with the price alone."""
    frame = series(name, start, 37).assign(price=2.0 + np.arange(37) % 3, rain=np.arange(37) % 4)
    ahead = frame.index >= 30
    return frame.assign(y=frame["y"].mask(ahead), rain=frame["rain"].mask(ahead))


def test_what_is_known_of_the_days_ahead_moves_the_forecast(told: Predictor) -> None:
    frame = told_series()
    found = told.predict(frame)
    assert found["ds"].iloc[0] == pd.Timestamp("2015-01-31")
    assert len(found) == 7
    dearer = told.predict(frame.assign(price=frame["price"].where(frame.index != 33, 9.0)))
    moved = (found["q50"] - dearer["q50"]).abs() > 1e-6
    assert moved.tolist() == [False, False, False, True, False, False, False]
    wetter = told.predict(frame.assign(rain=frame["rain"].where(frame.index != 29, 9.0)))
    assert (found["q50"] != wetter["q50"]).all()


def test_rows_in_any_order_and_as_text_say_the_same(told: Predictor) -> None:
    frame = told_series()
    text = (
        frame.astype(object)
        .where(frame.notna(), "")
        .sample(frac=1, random_state=1)
        .assign(ds=lambda f: f["ds"].astype(str))
    )
    pd.testing.assert_frame_equal(told.predict(frame), told.predict(text))


def bad_covariates() -> dict[str, tuple[pd.DataFrame, str]]:
    frame = told_series("bad")
    return {
        "price ahead": (
            frame[frame.index != 34],
            "price is missing on 2015-02-04; allowed: rows with it, and without y",
        ),
        "no rows ahead": (frame[frame.index < 30], "price is missing on 2015-01-31"),
        "words": (frame.assign(price="much"), "price is much on 2015-01-01; allowed: finite numbers"),
        "two prices": (pd.concat([frame, frame.tail(1).assign(price=7.0)]), "price is 2 and 7 on 2015-02-06"),
        "no rain": (frame.assign(rain=np.nan), "rain is missing on all days"),
        "hole": (frame.assign(y=frame["y"].mask(frame.index == 4)), "y is nan on 2015-01-05"),
        "too late": (
            told_series("bad", "2016-12-20"),
            "allowed: 2014-01-01 to 2016-12-31, the range of its holidays",
        ),
    }


@pytest.mark.parametrize("case", list(bad_covariates()))
def test_a_series_whose_covariates_are_bad_is_named_and_the_others_are_answered(told: Predictor, case: str) -> None:
    bad, reason = bad_covariates()[case]
    found = told.predict(pd.concat([told_series("good"), bad]), on_error="report")
    assert found["error"].isna().tolist() == [True] * 7 + [False]
    assert reason in found["error"].iloc[-1]


def test_a_missing_column_is_named(told: Predictor) -> None:
    with pytest.raises(ValueError, match=r"columns missing: \['rain'\]"):
        told.predict(told_series().drop(columns="rain"))


def test_a_model_with_further_columns_can_answer_the_example(told: Predictor, tmp_path: Path) -> None:
    rows = example(tmp_path, ["unique_id", "ds", "y", "price", "rain"])
    assert len(told.predict(pd.DataFrame(rows))) == 7


@pytest.mark.parametrize("count", [14, 15, 27, 28, 400, 12_000])
def test_two_weeks_or_decades_are_answered(predictor: Predictor, count: int) -> None:
    assert np.isfinite(predictor.predict(series("a", "1990-01-01", count))[["mean", "q05", "q95"]]).all(axis=None)


def test_a_closed_form_reads_no_day_that_its_table_does_not_hold(tmp_path: Path) -> None:
    params = PARAMS.model_copy(update={"linear": "closed_form"})
    data = {"max_gap_days": 10, "duplicates": "refuse", "first_day": "2015-01-01", "last_day": "2016-01-01"}
    save_network(tmp_path, build(params, data), params, data, prepared=tmp_path, training={})
    asked = pd.concat([series("early", "1989-06-01", 400), series("good", "1990-01-01", 400)])
    found = Predictor(tmp_path).predict(asked, on_error="report")
    assert found["error"].isna().tolist() == [False] + [True] * 7
    assert (
        "ds: the model would read the days 1989-06-23 to 1990-07-12; allowed: 1990-01-01 to 2060-12-31, the range"
        in (found["error"].iloc[0])
    )
