"""The forecast store: nothing twice, nothing half-written, nothing foreign read."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pytest

from stages.monitoring.forecast_store import COLUMNS, ForecastStore

ORIGIN = date(2020, 1, 1)


def rows(*names: str, mean: float = 1.0, origin: date = ORIGIN) -> pd.DataFrame:
    days = pd.date_range(origin, periods=7)
    tables = [
        pd.DataFrame({"unique_id": name, "ds": days, "mean": mean, "q05": 0.0, "q50": 1.0, "q95": 2.0})
        for name in names
    ]
    return pd.concat(tables, ignore_index=True)


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ForecastStore:
    address = str(tmp_path / "forecasts") if request.param == "folder" else f"memory://{tmp_path.name}/"
    return ForecastStore(address, "forecast")


def test_what_is_written_is_read_and_nothing_is_written_twice(store):
    assert store.read().rows.empty
    assert store.series(ORIGIN, 3) == frozenset()
    assert store.write(ORIGIN, 3, rows("b", "a")) == 14
    assert store.write(ORIGIN, 3, rows("b", mean=9.0)) == 0  # what was forecast stays as it was
    assert store.write(ORIGIN, 3, rows("b", "c", mean=9.0)) == 7
    assert store.write(ORIGIN, 4, rows("a")) == 7
    assert store.series(ORIGIN, 3) == {"a", "b", "c"}
    found = store.read()
    assert found.skipped == ()
    assert list(found.rows.columns) == [*COLUMNS, "origin", "version"]
    means = found.rows.groupby(["version", "unique_id"])["mean"].agg(["size", "mean"])
    assert means["size"].tolist() == [7, 7, 7, 7]
    assert means["mean"].to_dict() == {(3, "a"): 1.0, (3, "b"): 1.0, (3, "c"): 9.0, (4, "a"): 1.0}
    assert (found.rows["origin"] == pd.Timestamp(ORIGIN)).all()


def test_the_tree_has_the_promised_names_and_equal_rows_give_equal_bytes(tmp_path):
    contents = []
    for name, order in (("one", ("a", "b")), ("two", ("b", "a"))):
        ForecastStore(str(tmp_path / name), "forecast").write(ORIGIN, 12, rows(*order))
        contents.append((tmp_path / name / "forecast/origin=2020-01-01/version=12.parquet").read_bytes())
    assert contents[0] == contents[1]


@pytest.mark.parametrize("step", ["write_bytes", "replace"])
def test_a_writer_that_is_killed_leaves_what_was_there(tmp_path, monkeypatch, step):
    store = ForecastStore(str(tmp_path), "forecast")
    store.write(ORIGIN, 1, rows("a"))

    class Killed(BaseException):
        pass

    def killed(self: Path, *arguments: object) -> None:
        if step == "write_bytes":
            with self.open("wb") as file:
                file.write(b"PAR1 half of i")
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Path, step, killed)
        with pytest.raises(Killed):
            store.write(ORIGIN, 1, rows("b"))
    found = store.read()
    assert (set(found.rows["unique_id"]), found.skipped) == ({"a"}, ())
    assert store.write(ORIGIN, 1, rows("b")) == 7
    assert store.series(ORIGIN, 1) == {"a", "b"}


def test_an_object_store_is_given_a_file_in_one_request(monkeypatch):
    store = ForecastStore("memory://single", "forecast")
    puts = []
    system = fsspec.filesystem("memory")
    monkeypatch.setattr(
        type(system), "pipe_file", lambda self, path, content, **options: puts.append((path, content[:4]))
    )
    store.write(ORIGIN, 1, rows("a"))
    assert puts == [("/single/forecast/origin=2020-01-01/version=1.parquet", b"PAR1")]


def test_what_is_no_forecast_is_named_and_passed_over(tmp_path):
    store = ForecastStore(str(tmp_path), "forecast")
    store.write(ORIGIN, 1, rows("a"))
    folder = tmp_path / "forecast" / "origin=2020-01-01"
    whole = (folder / "version=1.parquet").read_bytes()
    (folder / "version=2.parquet").write_bytes(whole[:-9])
    for name in ("x", "01", "0"):
        (folder / f"version={name}.parquet").write_bytes(whole)
    (tmp_path / "forecast" / "origin=2020-13-01").mkdir()
    (tmp_path / "forecast/origin=2020-13-01/version=1.parquet").write_bytes(whole)
    faults = {
        3: (rows("a").drop(columns="q95"), "missing: q95"),
        4: (rows("a").assign(mean=np.nan), "series 'a' has a number that is not finite"),
        5: (rows("a", "a"), "series 'a' has a day twice"),
        6: (rows("a").assign(mean="1"), "mean or a quantile is not a number"),
        7: (rows("a", origin=date(2019, 1, 1)), "ds 2019-01-01 does not follow the origin 2020-01-01"),
        8: (rows("a").assign(unique_id=1), "unique_id is not a column of names"),
        9: (rows("a").assign(ds="2020-01-01"), "ds is not a column of days"),
        10: (rows("a").assign(q05=1.5), "the quantiles of series 'a' cross: q05 1.5, q50 1, q95 2"),
        11: (rows("a").assign(q05=3.0), "the quantiles of series 'a' cross: q05 3, q50 1, q95 2"),
        12: (rows("a").assign(q95=0.5), "the quantiles of series 'a' cross: q05 0, q50 1, q95 0.5"),
        13: (rows("a").assign(ds=lambda table: table["ds"] + pd.Timedelta(hours=5)), "05:00:00 has a time of day"),
        14: (rows("a").iloc[:0], "found no rows"),
    }
    for version, (table, _) in faults.items():
        table.to_parquet(folder / f"version={version}.parquet")
    found = store.read()
    assert set(found.rows["version"]) == {1}
    told = "\n".join(found.skipped)
    assert len(found.skipped) == 5 + len(faults)
    for version, (_, reason) in faults.items():
        assert f"origin=2020-01-01/version={version}.parquet: " in told
        assert reason in told
    assert "version=2.parquet: not a Parquet file" in told
    for name in ("x", "01", "0"):
        assert f"version={name}.parquet: the name is not origin=DATE/version=N.parquet" in told
    with pytest.raises(ValueError, match=r"version=4\.parquet: series 'a' has a number that is not finite; remove or"):
        store.write(ORIGIN, 4, rows("b"))  # it would hide what somebody put there


def test_what_is_no_forecast_is_not_written(tmp_path):
    store = ForecastStore(str(tmp_path), "forecast")
    with pytest.raises(ValueError, match="was not stored: series 'a' has a number that is not finite"):
        store.write(ORIGIN, 1, rows("a", mean=np.inf))
    assert not (tmp_path / "forecast").exists()


def test_an_address_is_shown_without_its_secrets(monkeypatch):
    monkeypatch.setenv("SECRET", "hidden")
    assert ForecastStore("memory://user:${SECRET}@host/x", "forecast").shown == "memory://host/x/forecast"
    with pytest.raises(ValueError, match="nonesuch"):
        ForecastStore("nonesuch://x", "forecast")
    with pytest.raises(ValueError, match="the environment variable ABSENT"):
        ForecastStore("s3://${ABSENT}/x", "forecast")


def test_a_store_that_is_away_is_one_line(tmp_path):
    (tmp_path / "forecast").write_text("a file")
    store = ForecastStore(str(tmp_path), "forecast")
    with pytest.raises(OSError, match=f"{tmp_path}/forecast: the forecast store cannot be used: "):
        store.write(ORIGIN, 1, rows("a"))
