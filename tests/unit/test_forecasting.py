"""The champion is asked once for each series, origin and version, from the newest prepared data."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from stages.monitoring import forecasting, watched
from stages.monitoring.forecast_store import ForecastStore
from stages.monitoring.forecasting import forecast_task
from stages.tasks.forecast import forecasts as module
from stages.tasks.forecast.prepare.ahead import AHEAD_NAME, read_ahead

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
    days = "each from the day after its last, 2020-04-10 to 2020-04-12,"
    assert first.summary.startswith(f"version 4 has forecast 2 of 3 series, {days} in {tmp_path}/store/forecast; 1 it ")
    assert "1 it cannot answer, such as bad: it never changes" in first.summary
    stored = ForecastStore(str(tmp_path / "store"), "forecast").read().rows
    origins = stored.groupby("unique_id")["origin"].unique().map(lambda found: [day.date() for day in found])
    assert origins.to_dict() == {"a": [date(2020, 4, 10)], "b": [date(2020, 4, 11)]}
    assert (stored["ds"] >= stored["origin"]).all()
    again = forecast_task(*task(tmp_path))
    assert (again.rows, again.series, again.known) == (0, 0, 2)
    assert champion.asked == ["a", "b", "bad", "bad"]
    write_csv(tmp_path / "raw", 101, "a")
    shutil.rmtree(tmp_path / "prepared")
    prepared(tmp_path / "raw", tmp_path / "prepared", id_column="id")
    assert f"has forecast 1 of 1 series from 2020-04-11 on in {tmp_path}" in forecast_task(*task(tmp_path)).summary


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


def write_ahead(folder: Path, *lines: str, days: int = 100) -> Path:
    """Two series of so many days, of which `lines` tell what is known of the days ahead."""
    write_csv(folder / "raw", days, "a", "b")
    with (folder / "raw" / "days.csv").open("a") as file:
        file.write("".join(f"\n{line}" for line in lines))
    prepared(folder / "raw", folder / "prepared", id_column="id", known_columns=["price"], past_columns=["rain"])
    return folder / "prepared"


def test_what_the_file_knows_of_the_days_ahead_is_sent(tmp_path):
    # Series a ends with 2020-04-09. Its week has two rows more than it needs, in no order; b's has none.
    lines = [f"2020-04-{day},,a,{day},5" for day in (18, 17, 10, 11, 12, 13, 14, 15, 16)]
    folder = write_ahead(tmp_path, *lines)
    sent = module.history(folder, ["a", "b"])
    a = sent[sent["unique_id"] == "a"]
    assert a["y"].isna().tolist() == [False] * 100 + [True] * 7
    assert a["price"].tolist()[-8:] == [99, 10, 11, 12, 13, 14, 15, 16]
    assert a["ds"].iloc[-1] == pd.Timestamp("2020-04-16")
    assert a["rain"].isna().tolist() == a["y"].isna().tolist()  # nobody knows it
    assert len(sent[sent["unique_id"] == "b"]) == 101
    assert module.origins(folder)["a"] == date(2020, 4, 10)


def test_days_ahead_change_nothing_that_is_learned_from_and_are_no_values(tmp_path):
    def metrics(folder: Path, known: list[str]) -> dict[str, float]:
        return prepared(folder / "raw", folder / "prepared", id_column="id", known_columns=known)[2]

    with_them, without = tmp_path / "with", tmp_path / "without"
    for folder, lines in ((with_them, ["2020-04-10,,a,7,"]), (without, [])):
        folder.mkdir()
        write_ahead(folder, *lines)
    assert metrics(with_them, ["price"]) == metrics(without, ["price"])
    for name in ("sequences.arrow", "description.json"):
        assert (with_them / "prepared" / name).read_bytes() == (without / "prepared" / name).read_bytes()
    assert (with_them / "prepared" / AHEAD_NAME).is_file()
    assert not (without / "prepared" / AHEAD_NAME).exists()
    shutil.rmtree(with_them / "prepared")
    metrics(with_them, [])
    assert not (with_them / "prepared" / AHEAD_NAME).exists()


def test_a_day_ahead_that_says_two_things_is_set_aside_and_the_series_is_not(tmp_path):
    folder = tmp_path / "prepared"
    write_ahead(tmp_path, "2020-04-10,,a,7,", "2020-04-10,,a,8,", "2020-04-11,,b,9,")
    raw = {"id_column": "id", "known_columns": ["price"], "past_columns": ["rain"]}
    store, _, metrics = prepared(tmp_path / "raw", folder, **raw)
    assert (len(store), metrics["rejected_ahead"]) == (2, 2)
    (reason,) = pq.read_table(folder / "rejected.parquet")["reason"].to_pylist()
    assert reason.startswith("price is 7 and 8 on 2020-04-10; allowed: one value per day")
    assert set(read_ahead(folder, ["a", "b"])) == {"b"}
    _, _, metrics = prepared(tmp_path / "raw", folder, duplicates="mean", **raw)
    assert read_ahead(folder, ["a"])["a"]["price"].tolist() == [7.5]
    assert metrics["repaired_conflicting_covariate"] == 1
    assert not list(folder.glob(".*"))
