"""CSV and .tsf files as they are found, and as they are broken."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import Any

import pytest

from stages.tasks.forecast.prepare.names import Names
from stages.tasks.forecast.prepare.readers import BadRecord, Doubt, Observation, read_csv, read_tsf
from tests.unit.test_forecast_prepare import prepare_params

TSF = """# a comment
@relation test
@attribute series_name string
@attribute start_timestamp date
@frequency daily
@data
"""


def from_csv(folder: Path, text: str, **params: Any) -> list[Observation | BadRecord | Doubt]:
    path = folder / "series.csv"
    path.write_bytes(text.encode())
    return list(read_csv(path, prepare_params(**params), Names()))


def from_tsf(folder: Path, text: str) -> list[Observation | BadRecord]:
    path = folder / "series.tsf"
    path.write_text(text)
    return list(read_tsf(path, Names()))


def test_one_column_of_values(tmp_path: Path) -> None:
    found = from_csv(tmp_path, "\ufeffdate,y\r\n1970-01-02,1.5\r\n\r\n1970-01-01,-2e1\r\n")
    assert found == [Observation("y", 1, 1.5), Observation("y", 0, -20.0)]


def test_a_date_in_three_columns(tmp_path: Path) -> None:
    found = from_csv(tmp_path, "year,month,day,y\n1970,2,1,7\n", date_columns=["year", "month", "day"])
    assert found == [Observation("y", 31, 7.0)]


def test_us_dates_semicolons_and_quotes(tmp_path: Path) -> None:
    found = from_csv(tmp_path, '"date";"y"\n"01/31/1970";"3"\n', date_format="%m/%d/%Y", delimiter=";")
    assert found == [Observation("y", 30, 3.0)]


def test_of_a_time_with_a_zone_the_date_on_its_own_clock_is_kept(tmp_path: Path) -> None:
    text = "date,y\n1970-01-02T23:30:00-0600,3\n1970-01-03T00:30:00+1100,4\n"
    found = from_csv(tmp_path, text, date_format="%Y-%m-%dT%H:%M:%S%z")
    assert found == [Observation("y", 1, 3.0), Observation("y", 2, 4.0)]


def test_nixtlas_long_format_with_further_columns(tmp_path: Path) -> None:
    text = "unique_id,ds,y,price,rain\na,1970-01-02,0,2.5,NA\na,1970-01-03,,3,1\nb,1970-01-02,1,cheap,0\n"
    columns = {"date_columns": ["ds"], "id_column": "unique_id", "known_columns": ["price"], "past_columns": ["rain"]}
    zero, ahead, bad = from_csv(tmp_path, text, **columns)
    assert isinstance(zero, Observation)
    assert (zero.series, zero.day, zero.value, zero.covariates[0]) == ("a", 1, 0.0, 2.5)
    assert math.isnan(zero.covariates[1])
    assert isinstance(ahead, Observation)
    assert (math.isnan(ahead.value), ahead.covariates) == (True, (3.0, 1.0))
    assert isinstance(bad, BadRecord)
    assert (bad.rule, bad.reason) == ("covariate", "price: found 'cheap'; allowed: a number")


def test_series_are_named_by_id_and_column(tmp_path: Path) -> None:
    text = "date,store,y,z\n1970-01-01,north,1,2\n"
    assert [o.series for o in from_csv(tmp_path, text, id_column="store") if isinstance(o, Observation)] == ["north"]
    both = from_csv(tmp_path, text, id_column="store", value_columns=["y", "z"])
    assert both == [Observation("north/y", 0, 1.0), Observation("north/z", 0, 2.0)]


@pytest.mark.parametrize("mark", ["", " ", "NA", "NaN", "null", "?"])
def test_marks_of_a_missing_value(tmp_path: Path, mark: str) -> None:
    (found,) = from_csv(tmp_path, f"date,y\n1970-01-01,{mark}\n")
    assert isinstance(found, Observation)
    assert math.isnan(found.value)


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("1970-01-01,many", "value"),
        ("1970-01-01,inf", "value"),
        ("1970-01-01,1e300", "value"),
        ("1970-02-30,1", "date"),
        ("0970-02-03,1", "date"),
        ("yesterday,1", "date"),
        ("1970-01-01,1,000", "columns"),
        ("1970-01-01", "columns"),
        ('1970-01-01,"5', "columns"),
        ('"1970-01-01,5', "columns"),
        ('1970-01-01,"5"0', "columns"),
        ('"' + "x" * 200_000, "columns"),
        ("1970-01-01,1e400", "value"),
        ("1970-01-01,٣", "value"),
        ("1970-01-01,5\0", "value"),
    ],
)
def test_a_bad_line_is_set_aside_and_the_next_is_read(tmp_path: Path, line: str, rule: str) -> None:
    bad, good = from_csv(tmp_path, f"date,y\n{line}\n1970-01-02,5\n")
    assert isinstance(bad, BadRecord)
    assert (bad.id, bad.rule, bad.content, bad.values) == ("line 2", rule, line, 1)
    assert good == Observation("y", 1, 5.0)


def test_numbers_are_read_as_params_say(tmp_path: Path) -> None:
    text = "date;y;price\n1970-01-01;1.234,5;0,5\n"
    rules = {"delimiter": ";", "decimal": ",", "thousands": ".", "known_columns": ["price"]}
    assert from_csv(tmp_path, text, **rules) == [Observation("y", 0, 1234.5, (0.5,))]


def test_a_number_of_another_notation_names_the_key(tmp_path: Path) -> None:
    bad, _ = from_csv(tmp_path, 'date,y\n1970-01-01,"1,121.5"\n1970-01-02,710\n')
    assert isinstance(bad, BadRecord)
    assert bad.reason == "y: found '1,121.5'; allowed: a number; it looks like prepare.thousands: ','"


@pytest.mark.parametrize(
    ("values", "doubted"),
    [
        (["1.121", "710", "999"], 1),
        (["1.121", "710.5", "999"], 0),  # fractions of other lengths
        (["15.000", "17.613", "NA"], 0),  # all values are written so
        (["12.345", "0", "0"], 0),  # nothing near a thousand
        (["1.121", "2014", "999"], 0),  # a thousand without a mark
    ],
)
def test_fractions_that_look_like_thousands_are_doubted(tmp_path: Path, values: list[str], doubted: int) -> None:
    lines = "".join(f"1970-01-0{day},{value}\n" for day, value in enumerate(values, 1))
    found = [one for one in from_csv(tmp_path, f"date,y\n{lines}") if isinstance(one, Doubt)]
    assert [one.count for one in found] == [1] * doubted
    for one in found:
        assert one.example.startswith("series.csv: y: line 2: 1.121 beside whole numbers up to 999; it looks like")
        assert one.example.endswith("prepare.thousands: '.', prepare.decimal: ','")


def test_a_date_with_day_and_month_the_other_way_round_names_the_format(tmp_path: Path) -> None:
    (bad,) = from_csv(tmp_path, "date,y\n13/01/1970,1\n", date_format="%m/%d/%Y")
    assert isinstance(bad, BadRecord)
    assert bad.reason.endswith("allowed: the format '%m/%d/%Y'; it looks like prepare.date_format: '%d/%m/%Y'")


@pytest.mark.parametrize("id", ["", " ", "\u00a0"])
def test_a_line_without_an_id_is_set_aside(tmp_path: Path, id: str) -> None:
    bad, good = from_csv(tmp_path, f"date,shop,y\n1970-01-01,{id},1\n1970-01-01,A,2\n", id_column="shop")
    assert isinstance(bad, BadRecord)
    assert (bad.rule, bad.reason) == ("id", "shop is missing; allowed: a name for each series")
    assert good == Observation("A", 0, 2.0)


def test_a_bad_date_costs_every_value_of_its_line(tmp_path: Path) -> None:
    (bad,) = from_csv(tmp_path, "date,y,z\n?,1,2\n", value_columns=["y", "z"])
    assert isinstance(bad, BadRecord)
    assert bad.values == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("day,y\n1,2\n", r"'date' \(prepare.date_columns\) is not a column; the header is day, y$"),
        ("day; date ;y\n1;2;3\n", r"the header is day; date ;y; it looks like prepare.delimiter: ';'$"),
        ("date,y,y\n", r"'y' \(prepare.value_columns\) is a column 2 times"),
        ("", "'date'"),
        ('date,"y\n1970-01-01,5\n', "line 1: found a value that spans several lines"),
    ],
)
def test_a_file_that_is_no_such_csv_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"series.csv: .*{message}"):
        from_csv(tmp_path, text)


def test_tsf_series_state_their_start(tmp_path: Path) -> None:
    found = from_tsf(tmp_path, TSF + "T1:1970-01-03 00-00-00:1,?,3.5\n\nT2:1970-01-01 00-00-00:9\n")
    assert [(o.series, o.day) for o in found if isinstance(o, Observation)] == [
        ("T1", 2),
        ("T1", 3),
        ("T1", 4),
        ("T2", 0),
    ]
    values = [o.value for o in found if isinstance(o, Observation)]
    assert (values[0], values[2], values[3]) == (1.0, 3.5, 9.0)
    assert math.isnan(values[1])


@pytest.mark.parametrize(
    ("line", "rule", "lost"),
    [
        ("T1:1970-01-01 00-00-00:x", "value", 1),
        ("T1:soon:1,2,3", "date", 3),
        ("T1:2249-12-31 00-00-00:" + ",".join(["1"] * 400), "date", 400),
        ("T1:1,2,3", "columns", 3),
        (":1970-01-01 00-00-00:1,2", "id", 2),
        ("T1;1970-01-01;1;2;?;4", "columns", 4),
        ("T1 1970-01-01 1 2 3", "columns", 3),
        ("T1,1970-01-01 00-00-00,1.5,2", "columns", 2),
        ("words alone", "columns", 1),
    ],
)
def test_a_bad_tsf_line_is_set_aside(tmp_path: Path, line: str, rule: str, lost: int) -> None:
    bad, good = from_tsf(tmp_path, f"{TSF}{line}\nT2:1970-01-01 00-00-00:9\n")
    assert isinstance(bad, BadRecord)
    assert (bad.rule, bad.values, bad.rows) == (rule, lost, int(rule != "value"))
    assert good == Observation("T2", 0, 9.0)


def test_a_tsf_name_may_hold_colons(tmp_path: Path) -> None:
    found = from_tsf(tmp_path, TSF + "Talk:Page: a::1970-01-01 00-00-00:9,8\n")
    assert found == [Observation("Talk:Page: a:", 0, 9.0), Observation("Talk:Page: a:", 1, 8.0)]


def test_colons_that_may_be_of_two_texts_cost_all_values_of_the_series(tmp_path: Path) -> None:
    text = TSF.replace("@frequency", "@attribute place string\n@frequency") + "a:b:1970-01-01 00-00-00:c:9,8,7\n"
    (bad,) = from_tsf(tmp_path, text)
    assert isinstance(bad, BadRecord)
    assert (bad.rule, bad.values, bad.rows) == ("columns", 3, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TSF.replace("daily", "weekly"), "@frequency weekly; allowed: daily"),
        (TSF.replace("@frequency daily\n", ""), "@frequency is not stated"),
        (TSF.replace("daily", "d" * 100_000), f"@frequency {'d' * 40}; allowed: daily"),
        (TSF.replace("@attribute start_timestamp date\n", ""), "no @attribute of type date"),
        ("T1:1,2,3\n", "not a .tsf: no @data line"),
    ],
)
def test_a_file_that_is_no_daily_tsf_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"series.tsf: {message}"):
        from_tsf(tmp_path, text)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_how_a_file_is_written(tmp_path: Path, encoding: str, packed: bool) -> None:
    for name, text, read in (
        (
            "a.csv",
            "date,y,shop\n2020-01-01,1,Müller\n",
            lambda p: read_csv(p, prepare_params(id_column="shop"), Names()),
        ),
        ("a.tsf", TSF + "Müller:2020-01-01 00-00-00:1\n", lambda p: read_tsf(p, Names())),
    ):
        content = text.encode(encoding)
        (tmp_path / name).write_bytes(gzip.compress(content) if packed else content)
        (only,) = read(tmp_path / name)
        assert isinstance(only, Observation)
        assert (only.series, only.value) == ("Müller", 1.0)


def test_a_file_in_another_encoding_is_refused_with_the_way_out_and_no_series_is_merged(tmp_path: Path) -> None:
    text = "date,y,shop\n2020-01-01,1,Müller\n2020-01-01,2,Möller\n"
    (tmp_path / "a.csv").write_bytes(text.encode("cp1252"))
    place = r"^a\.csv: line 2: found byte 0xfc at 14 after '2020-01-01,1,M'"
    with pytest.raises(ValueError, match=f"{place}; allowed: UTF-8, or set prepare.encoding: cp1252"):
        list(read_csv(tmp_path / "a.csv", prepare_params(id_column="shop"), Names()))
    found = read_csv(tmp_path / "a.csv", prepare_params(id_column="shop", encoding="cp1252"), Names())
    assert [record.series for record in found if isinstance(record, Observation)] == ["Müller", "Möller"]
    (tmp_path / "a.tsf").write_bytes((TSF + "Müller:2020-01-01 00-00-00:1\n").encode("cp1252"))
    with pytest.raises(ValueError, match=r"^a\.tsf: line 7: found byte 0xfc at 1 after 'M'"):
        list(read_tsf(tmp_path / "a.tsf", Names()))
    (series,) = read_tsf(tmp_path / "a.tsf", Names(), "cp1252")
    assert isinstance(series, Observation)
    assert series.series == "Müller"


def test_a_stray_quotation_mark_costs_its_line_and_no_other(tmp_path: Path) -> None:
    days = [f"1970-01-{day:02},{shop},{day}" for shop in "abcdef" for day in range(1, 31)]
    days[9] = days[9].replace(",a,", ',"a,')
    days[99] = days[99].replace("1970", '"1970')
    found = from_csv(tmp_path, "\n".join(["date,shop,y", *days]), id_column="shop")
    bad = [record for record in found if isinstance(record, BadRecord)]
    assert [(record.id, record.rule) for record in bad] == [("line 11", "columns"), ("line 101", "columns")]
    assert (
        bad[0].reason
        == "found a value that spans several lines; allowed: one line per row (is a closing quotation mark missing?)"
    )
    assert len(found) == len(days)


def test_a_quoted_value_may_hold_what_parts_columns_and_empty_further_cells_are_none(tmp_path: Path) -> None:
    found = from_csv(tmp_path, 'date,shop,y\n1970-01-01,"a, ""b""",5,\n', id_column="shop")
    assert found == [Observation('a, "b"', 0, 5.0)]


def test_a_name_that_two_series_would_have_is_refused(tmp_path: Path) -> None:
    text = "date,shop,c,b/c\n1970-01-01,a,1,2\n1970-01-01,a/b,3,4\n"
    first, second, bad, last = from_csv(tmp_path, text, id_column="shop", value_columns=["c", "b/c"])
    assert [one.series for one in (first, second, last) if isinstance(one, Observation)] == ["a/c", "a/b/c", "a/b/b/c"]
    assert isinstance(bad, BadRecord)
    assert (bad.rule, bad.values, bad.id) == ("name_of_two", 1, "line 3")
    assert bad.reason == (
        "found the series 'a/b/c' in the column c and another one with that name in the column b/c; "
        "allowed: a unique name for each series"
    )


def test_ids_that_differ_in_blanks_are_one_with_a_word(tmp_path: Path) -> None:
    text = "date,shop,y\n1970-01-01,a,1\n1970-01-02,a ,2\n1970-01-03,a,3\n1970-01-04, a,4\n"
    *observed, doubt = from_csv(tmp_path, text, id_column="shop")
    assert {one.series for one in observed if isinstance(one, Observation)} == {"a"}
    assert doubt == Doubt("id_spelled_otherwise", 2, "series.csv: line 3: 'a ' is read as 'a'")


def test_series_of_two_tsf_files_are_not_merged(tmp_path: Path) -> None:
    names = Names()
    found: list[Observation | BadRecord] = []
    for name, text in (
        ("a.tsf", TSF + "T1:1970-01-01 00-00-00:1\nT1:1970-01-02 00-00-00:2,3\n"),
        ("b.tsf", TSF.replace("@attribute series_name string\n", "") + "1970-01-01 00-00-00:4\n"),
        ("c.tsf", TSF.replace("@attribute series_name string\n", "") + "1970-01-01 00-00-00:5\n"),
    ):
        (tmp_path / name).write_text(text)
        found += read_tsf(tmp_path / name, names)
    first, bad, *unnamed = found
    assert first == Observation("T1", 0, 1.0)
    assert isinstance(bad, BadRecord)
    assert (bad.rule, bad.values, bad.rows) == ("name_of_two", 2, 1)
    assert "found the series 'T1' in a.tsf, line 8 and another one with that name in a.tsf, line 7" in bad.reason
    assert unnamed == [Observation("T6", 0, 4.0), Observation("c/T6", 0, 5.0)]
