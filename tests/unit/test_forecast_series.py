"""The rules that make a daily series of observations, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from stages.tasks.forecast.data.series import Rejection, Series, calendar_date, regularize


def made(days: list[int], values: list[float], **rules: object) -> Series:
    chosen = {"duplicates": "refuse", "max_gap_days": 3, "min_days": 2, **rules}
    return regularize(np.array(days), np.array(values), **chosen)  # type: ignore[arg-type]


def broken(days: list[int], values: list[float], **rules: object) -> str:
    with pytest.raises(Rejection) as caught:
        made(days, values, **rules)
    return caught.value.rule


def test_days_in_order_need_no_repair() -> None:
    series = made([10, 11, 12], [1.0, 2.0, 3.0])
    assert (series.start, series.values.tolist(), series.repairs) == (10, [1.0, 2.0, 3.0], {})
    assert series.observed.all()


def test_rows_are_put_in_order_and_counted() -> None:
    series = made([12, 10, 11], [3.0, 1.0, 2.0])
    assert series.values.tolist() == [1.0, 2.0, 3.0]
    assert series.repairs == {"unsorted_row": 2}


@pytest.mark.parametrize(("rule", "value"), [("first", 5.0), ("last", 3.0), ("mean", 4.0), ("sum", 12.0)])
def test_several_values_of_a_day_become_one_by_the_rule(rule: str, value: float) -> None:
    series = made([1, 2, 2, 3, 2], [0.0, 5.0, 4.0, 9.0, 3.0], duplicates=rule)
    assert series.values.tolist() == [0.0, value, 9.0]
    assert series.repairs == {"unsorted_row": 1, "conflicting_day": 2}


def test_different_values_of_a_day_are_refused() -> None:
    with pytest.raises(Rejection) as caught:
        made([1, 2, 2, 3, 3], [0.0, 5.0, 4.5, 9.0, 3.0])
    assert caught.value.rule == "several_values"
    assert str(caught.value).startswith(
        "4.5 and 5 on 1970-01-03, the first of 2 such days; allowed: one value per day ("
    )


def test_a_sum_of_fewer_values_than_on_other_days_is_counted() -> None:
    days = [day for day in range(20) for _ in range(4)]
    series = made(days[:-3], [float(day) for day in days[:-3]], duplicates="sum")
    assert series.repairs == {"duplicate_row": 57, "partial_day": 1}
    assert series.examples["partial_day"] == "1 of 4 values on 1970-01-20"
    sales = [day for day in range(20) for _ in range(1 + day % 5)]  # as many as there are
    assert "partial_day" not in made(sales, [float(day) for day in sales], duplicates="sum").repairs


def test_equal_rows_of_a_day_are_no_conflict() -> None:
    assert made([1, 1, 2], [5.0, 5.0, 6.0]).repairs == {"duplicate_row": 1}


def test_a_missing_day_takes_the_same_weekday_a_week_earlier() -> None:
    values = [float(i) for i in range(20)]
    series = made([i for i in range(20) if i not in (9, 16)], [v for v in values if v not in (9, 16)])
    assert series.values[[9, 16]].tolist() == [2.0, 2.0]  # day 16 from day 9, which came from day 2
    assert np.flatnonzero(~series.observed).tolist() == [9, 16]
    assert series.repairs == {}


def test_a_missing_day_of_the_first_week_takes_the_day_before() -> None:
    assert made([0, 1, 4, 5], [1.0, 2.0, 5.0, 6.0]).values.tolist() == [1.0, 2.0, 2.0, 2.0, 5.0, 6.0]


def test_a_value_marked_as_missing_is_a_missing_day() -> None:
    series = made([0, 1, 2, 3, 4], [1.0, np.nan, 3.0, 4.0, 5.0])
    assert (series.values.tolist(), series.observed.tolist()) == (
        [1.0, 1.0, 3.0, 4.0, 5.0],
        [True, False, True, True, True],
    )


def test_a_weekday_that_was_never_observed_takes_the_day_before() -> None:
    days = [day for day in range(4, 60) if (day + 3) % 7 < 5]  # without Saturdays and Sundays
    series = made(days, [float(day) for day in days])
    assert series.values[[5, 6, 12, 13, 19]].tolist() == [8.0, 8.0, 15.0, 15.0, 22.0]  # Friday's, the same week
    assert series.unobserved_weekdays == [5, 6]


def test_filling_looks_back_only() -> None:
    known = [i for i in range(30) if i % 5]
    before = made(known, [float(i % 7) for i in known])
    changed = made(known, [float(i % 7) if i < 20 else 1e6 for i in known])
    assert before.values[: 20 - before.start].tolist() == changed.values[: 20 - changed.start].tolist()


def test_only_what_follows_the_last_long_gap_is_kept() -> None:
    series = made([0, 1, 2, 6, 7, 12, 13, 14], [1.0, 2, 3, 4, 5, 6, 7, 8])  # 3 days missing, then 4
    assert (series.start, series.values.tolist()) == (12, [6.0, 7.0, 8.0])
    assert (series.before_gap, series.repairs) == (5, {})


def test_series_that_cannot_be_used_say_why() -> None:
    weeks = list(range(0, 210, 7))
    assert broken(weeks, [float(i) for i in weeks]) == "not_daily"
    assert broken([0, 1, 2], [1.0, 2.0, 3.0], min_days=4) == "too_short"
    assert broken([0, 1, 2, 9], [1.0, 2.0, 3.0, 4.0]) == "too_short"  # after the gap one day is left
    assert broken([], []) == "too_short"
    assert broken([0, 1], [np.nan, np.nan]) == "too_short"
    assert broken([0, 1, 2], [4.0, 4.0, 4.0]) == "constant"


def test_working_days_are_daily_with_weekends_filled() -> None:
    days = [day for day in range(4, 60) if (day + 3) % 7 < 5]  # from Monday 5 January 1970
    series = made(days, [float(day) for day in days])
    assert series.start == 4
    assert [calendar_date(series.start + int(i)).weekday() for i in np.flatnonzero(~series.observed)[:4]] == [
        5,
        6,
        5,
        6,
    ]


def test_a_row_of_a_conflicting_day_is_no_duplicate_row_as_well() -> None:
    days, values = [1, 1, 1, 2, 2, 3, 4], [5.0, 6.0, 5.0, 7.0, 7.0, 8.0, 9.0]
    series = made(days, values, duplicates="mean")
    assert series.repairs == {"conflicting_day": 2, "duplicate_row": 1}
    assert series.examples["duplicate_row"] == "1970-01-03"
    assert series.examples["conflicting_day"] == "5 and 6 on 1970-01-02"
