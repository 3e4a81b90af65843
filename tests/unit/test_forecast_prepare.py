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
from stages.tasks.forecast.prepare.prepare import prepare
from stages.tasks.forecast.prepare.readers import read_csv
from stages.tasks.forecast.source.download import download

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "series"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no real data beside this checkout")


def prepare_params(**values: Any) -> PrepareParams:
    defaults = {
        "encoding": "auto",
        "delimiter": ",",
        "date_columns": ["date"],
        "date_format": "%Y-%m-%d",
        "value_columns": ["y"],
        "id_column": "",
        "known_columns": [],
        "past_columns": [],
        "holidays": "",
        "duplicates": "last",
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
    with pytest.raises(PreparationError, match=r"20 of 120 records rejected \(16.7%\)"):
        prepared(raw, tmp_path / "out", id_column="id", max_rejected_share=0.1)


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
    with pytest.raises(ValueError, match=r"an archive without a \*.tsf file"):
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
        found = [record for path in sorted(raw.glob("*.csv")) for record in read_csv(path, prepare_params())]
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
    with pytest.raises(ValueError, match="series.csv: found bzip2; allowed: text, as it is or packed by gzip"):
        prepared(raw, tmp_path / "out")
