"""What the registered model answers, and what it says of a series it cannot answer."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from stages.serving import InvalidRows
from stages.tasks.forecast.model.network import build
from stages.tasks.forecast.params import ModelParams
from stages.tasks.forecast.serve.predictor import Predictor
from stages.weights import save_network

PARAMS = ModelParams(
    kind="gru",
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
    quantiles=[0.05, 0.5, 0.95],
)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(1)
    save_network(folder, build(PARAMS, {}), PARAMS, {"max_gap_days": 10}, prepared=folder, training={})
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


def test_order_of_rows_repeated_rows_and_company_change_nothing(predictor: Predictor) -> None:
    frame = series("a")
    alone = predictor.predict(frame)
    mixed = pd.concat([series("b", count=200), frame.sample(frac=1, random_state=1), frame.head(3)])
    beside = predictor.predict(mixed).query("unique_id == 'a'")
    pd.testing.assert_frame_equal(alone, beside.reset_index(drop=True), rtol=1e-6)


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


def test_a_missing_day_is_filled_as_in_training(predictor: Predictor) -> None:
    frame = series("a")
    filled = frame.assign(y=frame["y"].where(frame.index != 20, float(frame["y"].iloc[13])))
    pd.testing.assert_frame_equal(predictor.predict(frame.drop(index=20)), predictor.predict(filled))


def bad_series() -> dict[str, tuple[pd.DataFrame, str]]:
    frame = series("bad")
    return {
        "short": (frame.head(13), "13 days; allowed are at least 14"),
        "weekly": (series("bad", step="7D"), "a value every 7 days; allowed is one a day"),
        "hourly": (series("bad", step="h"), "on 2015-01-01; allowed is one value a day"),
        "missing": (frame.assign(y=frame["y"].where(frame.index != 4)), "y is nan on 2015-01-05"),
        "infinite": (frame.assign(y=frame["y"].where(frame.index != 4, np.inf)), "y is inf on 2015-01-05"),
        "words": (frame.assign(y="many"), "y is many on 2015-01-01"),
        "constant": (frame.assign(y=3.0), "every value is 3; allowed are series that change"),
        "conflict": (pd.concat([frame, frame.tail(1).assign(y=5.0)]), "y is 5 and 19.3364 on 2015-01-30"),
        "old": (pd.concat([frame, series("bad", "2015-06-01", 5)]), "5 days after the last gap of more than 10 days"),
        "numbers": (frame.assign(ds=range(30)), "ds holds numbers, such as 0"),
        "us dates": (frame.assign(ds=frame["ds"].dt.strftime("%m/%d/%Y")), "ds holds '01/01/2015'"),
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
