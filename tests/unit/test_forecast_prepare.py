"""From raw files to the store: what is counted, what is rejected, where series are cut; the real files."""

from __future__ import annotations

import bz2
import gzip
import tarfile
import zipfile
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from stages.data.prepared import open_prepared
from stages.data.store import SequenceStore
from stages.preprocessing.preparation import Preparation, PreparationError
from stages.tasks.forecast.params import PrepareParams, SourceParams
from stages.tasks.forecast.prepare.names import Names
from stages.tasks.forecast.prepare.prepare import prepare
from stages.tasks.forecast.prepare.readers import read_csv
from stages.tasks.forecast.source.download import download

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "series"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no real data beside this checkout")


def prepare_params(**values: Any) -> PrepareParams:
    defaults = {
        "encoding": "auto",
        "delimiter": ",",
        "decimal": ".",
        "thousands": "",
        "date_columns": ["date"],
        "date_format": "%Y-%m-%d",
        "value_columns": ["y"],
        "id_column": "",
        "known_columns": [],
        "past_columns": [],
        "holidays": "",
        "duplicates": "refuse",
        "max_gap_days": 28,
        "validation_days": 14,
        "test_days": 21,
        "max_rejected_share": 1.0,
    }
    return PrepareParams(**{**defaults, **values})


def prepared(raw: Path, output: Path, **values: Any) -> tuple[SequenceStore, dict[str, Any], dict[str, float]]:
    params = prepare_params(**values)
    with Preparation(output, max_rejected_share=params.max_rejected_share) as preparation:
        prepare(raw, params, preparation)
    return *open_prepared(output), preparation.metrics()


def fetched(folder: Path, kind: str, url: str) -> Path:
    folder.mkdir()
    download(SourceParams(kind=kind, url=url), folder)  # type: ignore[arg-type]
    return folder


def csv_of(folder: Path, lines: list[str]) -> Path:
    folder.mkdir()
    (folder / "series.csv").write_text("\n".join(["date,id,y", *lines]) + "\n")
    return folder


def days(count: int, name: str = "a") -> list[str]:
    return [f"{date(2020, 1, 1) + timedelta(i)},{name},{i % 5}" for i in range(count)]


def test_a_row_holds_a_series_and_the_steps_where_it_is_cut(tmp_path: Path) -> None:
    store, description, metrics = prepared(csv_of(tmp_path / "raw", days(100)), tmp_path / "out", id_column="id")
    assert (len(store), store.value("id", 0), store.value("length", 0)) == (1, "a", 100)
    assert store.value("start", 0) == date(2020, 1, 1)
    assert (store.value("train_end", 0), store.value("validation_end", 0)) == (65, 79)
    assert store.sequence("values", 0)[:6].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 0.0]
    assert (description["first_day"], description["last_day"]) == ("2020-01-01", "2020-04-09")
    assert metrics["accepted"] == 100


def test_bad_values_and_bad_series_are_counted_by_their_values(tmp_path: Path) -> None:
    lines = [*days(100), *days(20, "short"), "2020-05-01,a", "2020-03-01,a,x"]
    store, _, metrics = prepared(csv_of(tmp_path / "raw", lines), tmp_path / "out", id_column="id")
    assert store.column("id").tolist() == ["a"]
    assert {k: v for k, v in metrics.items() if k != "rejected_share"} == {
        "accepted": 100,
        "rejected": 22,
        "rejected_columns": 1,
        "rejected_too_short": 20,
        "rejected_value": 1,
    }
    rejected = pq.read_table(tmp_path / "out" / "rejected.parquet").to_pylist()
    assert [(r["id"], r["rule"]) for r in rejected] == [
        ("line 122", "columns"),
        ("line 123", "value"),
        ("short", "too_short"),
    ]


def test_more_rejected_values_than_allowed_stop_the_stage(tmp_path: Path) -> None:
    raw = csv_of(tmp_path / "raw", [*days(100), *days(20, "short")])
    with pytest.raises(PreparationError, match=r"20 of 120 values \(17 %\), 1 of 2 series \(50 %\)"):
        prepared(raw, tmp_path / "out", id_column="id", max_rejected_share=0.1)


def written(folder: Path, header: str, lines: list[str]) -> Path:
    folder.mkdir()
    (folder / "series.csv").write_text("\n".join([header, *lines]) + "\n")
    return folder


def closing_line(raw: Path, output: Path, **values: Any) -> str:
    params = prepare_params(**values)
    with Preparation(output, max_rejected_share=params.max_rejected_share) as preparation:
        prepare(raw, params, preparation)
    return preparation.summary("forecast", "there")


def test_lines_without_an_id_count_as_their_values_do(tmp_path: Path) -> None:
    raw = csv_of(tmp_path / "raw", [*days(100), *days(100, " ")])
    with pytest.raises(
        PreparationError, match=r"100 of 200 values \(50 %\).*id 100 \(series.csv, line 102: id is missing"
    ):
        prepared(raw, tmp_path / "out", id_column="id", max_rejected_share=0.05)


def test_what_lies_before_a_long_gap_is_rejected_by_its_values(tmp_path: Path) -> None:
    raw = csv_of(tmp_path / "raw", [line for line in days(300) if not "2020-05" < line < "2020-07-01"])
    line = closing_line(raw, tmp_path / "out")
    assert line.startswith(
        "warning: forecast: 118 values of 1 series; rejected 121 of 239 values (51 %): before_long_gap"
    )
    assert (
        "(y: 121 values before a gap that ends on 2020-07-01; allowed: gaps of up to 28 days (prepare.max_gap_" in line
    )


def test_several_readings_a_day_are_refused_unless_a_rule_makes_them_one(tmp_path: Path) -> None:
    lines = [f"{date(2020, 1, 1) + timedelta(i)} {hour}:00,{i % 9 + hour}" for i in range(80) for hour in (0, 12)]
    raw = written(tmp_path / "raw", "date,y", lines)
    rules: dict[str, Any] = {"date_format": "%Y-%m-%d %H:%M"}
    refused = (
        r"all of 160 values were rejected: several_values 160 \(y: 0 and 12 on 2020-01-01, the first of 80 such days"
    )
    with pytest.raises(PreparationError, match=refused):
        prepared(raw, tmp_path / "refused", **rules)
    lost = closing_line(raw, tmp_path / "last", **rules, duplicates="last")
    assert lost.startswith("warning: forecast: 160 values of 1 series; rejected 0; repaired ")
    assert "80 conflicting_day (y: 0 and 12 on 2020-01-01)" in lost
    assert closing_line(raw, tmp_path / "mean", **rules, duplicates="mean").startswith("forecast: 160 values")
    store, description, _ = prepared(raw, tmp_path / "sum", **rules, duplicates="sum")
    assert store.sequence("values", 0)[:2].tolist() == [12.0, 14.0]
    assert description["duplicates"] == "sum"


def test_different_values_of_a_further_column_on_a_day_are_counted(tmp_path: Path) -> None:
    lines = [f"{date(2020, 1, 1) + timedelta(i // 2)},{i // 2 % 9},{i % 2 if i < 6 else 0}" for i in range(160)]
    raw = written(tmp_path / "raw", "date,y,price", lines)
    line = closing_line(raw, tmp_path / "out", known_columns=["price"], duplicates="first")
    assert line.startswith("warning: forecast: 160 values of 1 series; rejected 0; repaired ")
    assert "3 conflicting_covariate (y: price is 0 and 1 on 2020-01-01)" in line


def test_day_and_month_that_a_spreadsheet_swapped_are_told(tmp_path: Path) -> None:
    dates = [date(2020, 1, 1) + timedelta(i) for i in range(200)]
    rules: dict[str, Any] = {"date_format": "%d/%m/%Y"}
    swapped = [f"{d:%m/%d/%Y}" if d.day <= 12 else f"{d:%d/%m/%Y}" for d in dates]
    raw = written(tmp_path / "raw", "date,y", [f"{text},{i % 9}" for i, text in enumerate(swapped)])
    line = closing_line(raw, tmp_path / "out", **rules)
    assert line.startswith("warning: ")
    assert "unsorted_swapped_day (y: 2020-01-13 after 2020-12-01; day and month look swapped up to the 12th" in line
    assert "prepare.date_format: '%Y-%m-%d'" in line
    right = [f"{d:%d/%m/%Y},{i % 9}" for i, d in enumerate(dates)]
    for name, lines in (("latest", right[::-1]), ("pieces", right[100:] + right[:100])):
        raw = written(tmp_path / name, "date,y", lines)
        assert "swapped" not in closing_line(raw, tmp_path / f"{name}-out", **rules)


def test_weekdays_without_a_value_are_told(tmp_path: Path) -> None:
    working = [line for line in days(140) if date.fromisoformat(line[:10]).weekday() < 5]
    line = closing_line(csv_of(tmp_path / "raw", working), tmp_path / "out")
    assert line.startswith("warning: ")
    told = (
        "y: no value on any Saturday or Sunday, so nothing supports their forecasts: leave them out, or add rows of 0"
    )
    assert f"filled 40 of 140 days (29 %; first {told}" in line


def test_two_preparations_give_the_same_bytes(tmp_path: Path) -> None:
    raw = csv_of(tmp_path / "raw", [*days(100), *days(90, "b"), "broken"])
    for name in ("one", "two"):
        prepared(raw, tmp_path / name, id_column="id")
    for file in ("sequences.arrow", "description.json", "rejected.parquet"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_the_sample_is_seattles_daily_maximum(tmp_path: Path) -> None:
    raw = fetched(tmp_path / "raw", "sample", "")
    rules = {"date_format": "%Y/%m/%d", "value_columns": ["temp_max"], "test_days": 365, "validation_days": 182}
    store, _, metrics = prepared(raw, tmp_path / "out", **rules)
    assert (metrics["accepted"], metrics["rejected"], len(metrics)) == (1461, 0, 3)
    assert store.value("start", 0) == date(2012, 1, 1)
    assert store.sequence("values", 0)[[0, -1]].tolist() == [12.8, 5.6]


def test_a_series_inside_an_archive_is_unpacked_and_nothing_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "series.zip", "w") as archive:
        archive.writestr("inner/b.csv", "date,y\n2020-01-01,1\n")
        archive.writestr("readme.txt", "hello")
    raw = fetched(tmp_path / "raw", "csv", (tmp_path / "series.zip").as_uri())
    assert sorted(p.name for p in raw.iterdir()) == ["downloads.json", "series-000.csv"]
    with pytest.raises(ValueError, match=r"the archive has no \*.tsf file"):
        fetched(tmp_path / "other", "tsf", (tmp_path / "series.zip").as_uri())


@needs_data
def test_chicagos_duplicate_unsorted_rows_with_us_dates(tmp_path: Path) -> None:
    raw = fetched(tmp_path / "raw", "csv", (DATA / "CTA_-_Ridership_-_Daily_Boarding_Totals.csv").as_uri())
    rules = {"date_columns": ["service_date"], "date_format": "%m/%d/%Y", "value_columns": ["bus", "rail_boardings"]}
    store, description, metrics = prepared(raw, tmp_path / "out", **rules)
    assert store.column("id").tolist() == ["bus", "rail_boardings"]
    assert store.column("length").tolist() == [6574, 6574]  # 2001-01-01 to 2018-12-31
    assert store.sequence("values", 1)[:3].tolist() == [126455.0, 501952.0, 536432.0]
    assert (metrics["accepted"], metrics["repaired_duplicate_row"]) == (2 * 6636, 2 * 62)
    assert metrics["rejected"] == 0
    assert "repaired_conflicting_day" not in metrics
    assert description["last_day"] == "2018-12-31"


@needs_data
def test_births_with_the_date_in_three_columns(tmp_path: Path) -> None:
    raw = fetched(tmp_path / "raw", "csv", (DATA / "US_births_2000-2014_SSA.csv").as_uri())
    store, _, metrics = prepared(
        raw, tmp_path / "out", date_columns=["year", "month", "date_of_month"], value_columns=["births"]
    )
    assert (store.value("start", 0), store.value("length", 0)) == (date(2000, 1, 1), 5479)
    assert (metrics["accepted"], metrics["rejected"]) == (5479, 0)


@needs_data
def test_melbournes_missing_leap_days_are_filled_from_a_week_earlier(tmp_path: Path) -> None:
    raw = fetched(tmp_path / "raw", "csv", (DATA / "daily-min-temperatures.csv").as_uri())
    store, _, metrics = prepared(raw, tmp_path / "out", date_columns=["Date"], value_columns=["Temp"])
    assert (store.value("length", 0), metrics["repaired_filled_day"]) == (3652, 2)
    values, observed = store.sequence("values", 0), store.sequence("observed", 0)
    filled = [i for i in range(len(observed)) if not observed[i]]
    assert [date(1981, 1, 1) + timedelta(i) for i in filled] == [date(1984, 12, 31), date(1988, 12, 31)]
    assert [values[i] for i in filled] == [values[i - 7] for i in filled]


@needs_data
def test_weekly_series_are_refused_by_name(tmp_path: Path) -> None:
    raw = fetched(tmp_path / "raw", "tsf", (DATA / "sample.tsf").as_uri())
    with pytest.raises(ValueError, match="series.tsf: @frequency weekly; allowed: daily"):
        prepared(raw, tmp_path / "out")


@needs_data
def test_all_series_of_a_real_tsf_are_read(tmp_path: Path) -> None:
    # The file is weekly; stated as daily, its form is read to the last of its 299 series.
    raw = tmp_path / "raw"
    raw.mkdir()
    text = (DATA / "sample.tsf").read_text().replace("@frequency weekly", "@frequency daily")
    (raw / "series.tsf").write_text(text)
    store, _, metrics = prepared(raw, tmp_path / "out")
    assert len(store) + metrics.get("rejected_constant", 0) == 299
    assert (store.value("id", 0), store.value("start", 0)) == ("T1", date(2010, 7, 1))
    assert store.sequence("values", 0)[:2].tolist() == [207.06, 195.618]


def test_a_packed_csv_is_read_under_any_name_alone_or_in_an_archive(tmp_path: Path) -> None:
    packed = gzip.compress(b"date,y\n2020-01-01,1\n")
    (tmp_path / "sales.csv.gz").write_bytes(packed)
    with zipfile.ZipFile(tmp_path / "sales.zip", "w") as archive:
        archive.writestr("a.csv.gz", packed)
        archive.writestr("b.csv", packed)
    for name, count in (("sales.csv.gz", 1), ("sales.zip", 2)):
        raw = fetched(tmp_path / name.replace(".", "-"), "csv", (tmp_path / name).as_uri())
        found = [record for path in sorted(raw.glob("*.csv")) for record in read_csv(path, prepare_params(), Names())]
        assert [getattr(record, "value", None) for record in found] == [1.0] * count


def test_a_tar_behind_a_csvs_name_is_looked_at_by_the_guarded_reader(tmp_path: Path) -> None:
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 2_000_000_000
    for name, pack in (("a.csv", bytes), ("b.csv", gzip.compress)):
        (tmp_path / name).write_bytes(pack(header.tobuf() + bytes(100_000)))
        with pytest.raises(ValueError, match="a header of 2,000,000,000 bytes"):
            fetched(tmp_path / f"raw-{name}", "csv", (tmp_path / name).as_uri())


def test_what_is_packed_otherwise_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(bz2.compress(b"date,y\n"))
    raw = fetched(tmp_path / "raw", "csv", (tmp_path / "a.csv").as_uri())
    with pytest.raises(ValueError, match="series.csv: found bzip2; allowed: text, plain or compressed with gzip"):
        prepared(raw, tmp_path / "out")


@pytest.mark.parametrize("fault", ["value", "date"])
def test_a_series_whose_every_value_is_bad_is_a_lost_series_too(tmp_path: Path, fault: str) -> None:
    bad = {"value": "2020-01-02,bad,x", "date": "soon,bad,1"}[fault]
    raw = csv_of(tmp_path / "raw", [*days(100), *[bad] * 30])
    told = rf"30 of 130 values \(23 %\), 1 of 2 series \(50 %\).*: {fault} 30 \(.*no_good_value \(bad: all of its 30 v"
    with pytest.raises(PreparationError, match=told):
        prepared(raw, tmp_path / "out", id_column="id", max_rejected_share=0.1)
    _, _, metrics = prepared(raw, tmp_path / "kept", id_column="id")
    assert (metrics["rejected"], metrics["rejected_share"]) == (30, 0.5)
    rejected = pq.read_table(tmp_path / "kept" / "rejected.parquet").to_pylist()
    assert (rejected[-1]["id"], rejected[-1]["rule"]) == ("bad", "no_good_value")


def test_of_a_tsf_too(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    head = "@attribute series_name string\n@attribute start date\n@frequency daily\n@data\n"
    good, bad = ",".join(str(n % 5) for n in range(100)), ",".join(["x"] * 40)
    (tmp_path / "raw" / "a.tsf").write_text(f"{head}a:2020-01-01 00-00-00:{good}\nb:2020-01-01 00-00-00:{bad}\n")
    with pytest.raises(PreparationError, match=r"40 of 140 values \(29 %\), 1 of 2 series"):
        prepared(tmp_path / "raw", tmp_path / "out", max_rejected_share=0.1)


def test_ids_that_look_alike_are_told(tmp_path: Path) -> None:
    lines = [*days(100, "café"), *days(100, "cafe\u0301"), *days(100, "b"), *days(100, "\ufeffb")]
    line = closing_line(csv_of(tmp_path / "raw", lines), tmp_path / "out", id_column="id")
    assert line.startswith("warning: forecast: 400 values of 4 series")
    assert r"200 name_alike ('cafe\u0301' beside 'caf\xe9', two series)" in line
