"""The champion is asked once for each series, origin and version, from the newest prepared data."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.monitoring import forecasting, watched
from stages.monitoring.forecast_store import ForecastStore
from stages.monitoring.forecasting import forecast_task
from stages.tasks.forecast import forecasts as module

from .test_forecast_prepare import prepared

MODEL = "forecaster"


def write_csv(folder: Path, days: int, *names: str, known: bool = False) -> None:
    folder.mkdir(exist_ok=True)
    lines = ["date,y,id,price,rain"]
    for place, name in enumerate(names):
        dates = pd.date_range("2020-01-01", periods=days + place).strftime("%Y-%m-%d")
        # One day in the middle is missing.
        lines += [f"{day},{n % 7 + place},{name},{n},{n / 2}" for n, day in enumerate(dates) if n != 30]
    (folder / "days.csv").write_text("\n".join(lines))


class Champion:
    """Answers every series but those called `bad`, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def predict(self, frame: pd.DataFrame, params: dict[str, str]) -> pd.DataFrame:
        assert params == {"on_error": "report"}
        tables = []
        for name, rows in frame.groupby("unique_id", sort=False):
            self.asked.append(str(name))
            numbers = dict.fromkeys(("mean", "q05", "q50", "q95"), float(len(rows)))
            days = pd.date_range(rows["ds"].max() + pd.Timedelta(days=1), periods=7)
            table = pd.DataFrame({"unique_id": name, "ds": days, **numbers, "error": None})
            tables.append(table if name != "bad" else table[:1].assign(mean=np.nan, error="it never changes"))
        return pd.concat(tables, ignore_index=True)


@pytest.fixture
def champion(monkeypatch: pytest.MonkeyPatch) -> Champion:
    made = Champion()
    monkeypatch.setattr(watched, "missing_database", lambda: None)
    monkeypatch.setattr(watched.mlflow_runs, "open_client", lambda: None)
    monkeypatch.setattr(watched, "with_alias", lambda client, name, alias: SimpleNamespace(version="4"))
    monkeypatch.setattr(forecasting, "load_model", lambda name, version: made)
    return made


def task(folder: Path) -> tuple[Any, Any]:
    found = SimpleNamespace(
        name="forecast",
        paths=SimpleNamespace(prepared=folder / "prepared"),
        forecasts=lambda: module,
        description=lambda: SimpleNamespace(model_name=MODEL),
    )
    return found, SimpleNamespace(monitor=SimpleNamespace(store=str(folder / "store")))


def test_each_series_is_forecast_once_from_the_day_after_its_last(tmp_path, champion):
    write_csv(tmp_path / "raw", 100, "a", "b", "bad")
    prepared(tmp_path / "raw", tmp_path / "prepared", id_column="id")
    first = forecast_task(*task(tmp_path))
    assert (first.rows, first.series, first.known, first.refused, first.version) == (14, 2, 0, 1, 4)
    assert first.origin == "2020-04-12"
    assert "1 it cannot answer, such as bad: it never changes" in first.summary
    stored = ForecastStore(str(tmp_path / "store"), "forecast").read().rows
    origins = stored.groupby("unique_id")["origin"].unique().map(lambda found: [day.date() for day in found])
    assert origins.to_dict() == {"a": [date(2020, 4, 10)], "b": [date(2020, 4, 11)]}
    assert (stored["ds"] >= stored["origin"]).all()
    again = forecast_task(*task(tmp_path))
    assert (again.rows, again.series, again.known) == (0, 0, 2)
    assert champion.asked == ["a", "b", "bad", "bad"]


def test_a_run_that_is_killed_between_two_origins_goes_on_where_it_was(tmp_path, champion, monkeypatch):
    write_csv(tmp_path / "raw", 100, "a", "b")
    prepared(tmp_path / "raw", tmp_path / "prepared", id_column="id")
    write = ForecastStore.write

    def killed(self: ForecastStore, origin: date, version: int, rows: pd.DataFrame) -> int:
        if origin == date(2020, 4, 11):
            raise KeyboardInterrupt
        return write(self, origin, version, rows)

    with monkeypatch.context() as patch:
        patch.setattr(ForecastStore, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            forecast_task(*task(tmp_path))
    assert forecast_task(*task(tmp_path)).series == 1
    assert champion.asked == ["a", "b", "b"]
    assert len(ForecastStore(str(tmp_path / "store"), "forecast").read().rows) == 14


def test_without_a_champion_or_any_answer_it_is_one_line(tmp_path, champion, monkeypatch):
    write_csv(tmp_path / "raw", 100, "bad")
    prepared(tmp_path / "raw", tmp_path / "prepared", id_column="id")
    with pytest.raises(ValueError, match="version 4 answers none of 1 series, such as bad: it never changes"):
        forecast_task(*task(tmp_path))
    monkeypatch.setattr(watched, "with_alias", lambda client, name, alias: None)
    with pytest.raises(ValueError, match="forecaster: no version is champion:"):
        forecast_task(*task(tmp_path))


def test_what_is_sent_and_what_came_are_the_newest_data(tmp_path):
    write_csv(tmp_path / "raw", 800, "a", "b")
    prepared(tmp_path / "raw", tmp_path / "prepared", id_column="id", known_columns=["price"], past_columns=["rain"])
    assert module.origins(tmp_path / "prepared") == {"a": date(2022, 3, 11), "b": date(2022, 3, 12)}
    sent = module.history(tmp_path / "prepared", ["b"])
    assert list(sent.columns) == ["unique_id", "ds", "y", "price", "rain"]
    assert (len(sent), sent["ds"].iloc[-1]) == (module.HISTORY_DAYS, pd.Timestamp("2022-03-11"))
    assert sent.iloc[-1][["y", "price", "rain"]].tolist() == [800 % 7 + 1, 800, 400]
    came = module.actuals(tmp_path / "prepared", date(2020, 1, 28))
    assert came.groupby("unique_id").size().to_dict() == {"a": 800 - 27 - 1, "b": 801 - 27 - 1}
    assert pd.Timestamp("2020-01-31") not in set(came["ds"])  # it was filled
    assert came[came["unique_id"] == "a"]["y"].iloc[-1] == 799 % 7
    assert came["scale"].isna().all()  # it repeats itself exactly
