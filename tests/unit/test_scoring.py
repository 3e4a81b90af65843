"""Scores of forecasts: each day once on the charts, nothing after a day changes what was said of it, the verdict."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flows.reports.scores import scores_report
from stages import predict, score
from stages.evaluation.bootstrap import accuracy
from stages.monitoring import score_files
from stages.monitoring.evaluations import Evaluation
from stages.monitoring.labelled import judge
from stages.monitoring.scoring import Scored, compare, references, verdict
from stages.score import score_labelled, score_task
from stages.tasks.protocol import Task

START = pd.Timestamp("2020-01-01")
LIMITS: Any = SimpleNamespace(level=5.0, spread=7.0, weekday=8.0, recent_days=7, chance=0.1)


def actuals(days: int, *names: str, seed: int = 1, shift_from: int = 10**6, shift: float = 0.0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    tables = []
    for name in names:
        values = generator.standard_normal(days) + np.where(np.arange(days) >= shift_from, shift, 0.0)
        frame = pd.DataFrame({"unique_id": name, "ds": pd.date_range(START, periods=days), "y": values, "scale": 2.0})
        tables.append(frame)
    return pd.concat(tables, ignore_index=True)


def forecasts(days: int, *names: str, step: int = 1, version: int = 1) -> pd.DataFrame:
    """The same every day: 0, and the 90 % band of a standard normal distribution."""
    found = []
    for name in names:
        for first in range(0, days, step):
            origin = START + pd.Timedelta(days=first)
            found.append(pd.DataFrame({"unique_id": name, "ds": pd.date_range(origin, periods=7), "origin": origin}))
    table = pd.concat(found, ignore_index=True)
    return table.assign(mean=0.0, q05=-1.645, q50=0.0, q95=1.645, version=version)


def test_metrics_are_of_all_forecasts_and_each_day_stands_on_the_charts_once():
    came = actuals(60, "a", "b").drop(index=5)  # a day that was not observed
    scored = compare(forecasts(60, "a", "b"), came, {}, LIMITS, {"mae": 0.8, "mae_low": 0.7, "mae_high": 0.9})
    assert len(scored.table) == 119
    assert not scored.table.duplicated(["unique_id", "ds"]).any()
    assert (scored.table["ahead"] == 1).all()  # the newest forecast of a day
    by_ahead = scored.slices[scored.slices["slice"] == "days ahead"].set_index("value")["n"]
    assert by_ahead.loc["1"] == 119
    assert by_ahead.loc["7"] == 2 * 54 - 0
    found = scored.metrics["mae"]
    assert found["value"] == pytest.approx(came["y"].abs().mean(), abs=0.05)
    assert found["low"] < found["value"] < found["high"]
    assert (found["evaluation"], found["evaluation_low"]) == (0.8, 0.7)
    assert scored.metrics["mase"]["value"] == pytest.approx(found["value"] / 2)
    assert scored.metrics["coverage_90"]["value"] == pytest.approx(0.9, abs=0.07)


def test_of_forecasts_once_a_week_each_day_counts_by_the_only_one():
    scored = compare(forecasts(56, "a", step=7), actuals(56, "a"), {}, LIMITS)
    assert scored.table["ahead"].tolist() == [1, 2, 3, 4, 5, 6, 7] * 8


def test_of_two_versions_from_one_origin_the_newer_counts():
    both = pd.concat([forecasts(20, "a"), forecasts(20, "a", version=3).assign(mean=5.0)], ignore_index=True)
    scored = compare(both, actuals(20, "a"), {}, LIMITS)
    assert set(scored.table["version"]) == {3}
    assert scored.metrics["mae"]["n"] == len(actuals(20, "a")) * 7 - 21


def test_no_value_after_a_day_changes_what_was_decided_on_it():
    generator = np.random.default_rng(3)
    came = actuals(120, "a", "b", shift_from=80, shift=2.0)
    said = forecasts(120, "a", "b")
    whole = compare(said, came, {}, LIMITS)
    assert whole.alarms
    for cut in generator.integers(20, 120, 4).tolist():
        day = START + pd.Timedelta(days=cut)
        changed = came.assign(y=np.where(came["ds"] >= day, 1e6 * generator.standard_normal(len(came)), came["y"]))
        other = compare(said, changed, {}, LIMITS)
        known = [scored.table[scored.table["ds"] < day].reset_index(drop=True) for scored in (whole, other)]
        pd.testing.assert_frame_equal(*known)
        before = [[alarm for alarm in scored.alarms if alarm.day < f"{day:%Y-%m-%d}"] for scored in (whole, other)]
        assert before[0] == before[1]
        # As it stood on that day: with neither later values nor later forecasts.
        then = compare(said[said["origin"] < day], came[came["ds"] < day], {}, LIMITS)
        pd.testing.assert_frame_equal(known[0], then.table)


def test_a_level_that_stays_is_an_alarm_and_one_that_is_in_the_test_split_is_none():
    came = actuals(120, "a", shift_from=105, shift=2.5)
    scored = compare(forecasts(120, "a"), came, {}, LIMITS)
    assert scored.verdict == "alarm"
    assert scored.alarms[-1].chart in ("level", "spread")
    assert scored.alarms[0].day > "2020-04-10"
    assert "1 of 1 series with an alarm" in scored.summary
    biased = actuals(400, "a", seed=2, shift_from=0, shift=2.5)
    test_split = biased.assign(actual=biased["y"], q05=-1.645, q50=0.0, q95=1.645)
    known = references({1: test_split, 2: None})
    assert set(known) == {(1, "a")}
    used_to_it = compare(forecasts(120, "a"), actuals(120, "a", shift_from=0, shift=2.5), known, LIMITS)
    assert (used_to_it.verdict, used_to_it.alarms) == ("none", ())


def test_of_many_series_a_few_alarms_are_chance():
    days = pd.DataFrame({"unique_id": [f"s{i}" for i in range(100)], "ds": START, "alarms": ""})
    assert verdict(days, LIMITS) == (False, "no alarm in the 7 days up to 2020-01-01 in 100 series")
    for count, expected in ((1, False), (4, False), (5, True)):
        is_alarm, reason = verdict(days.assign(alarms=["level"] * count + [""] * (100 - count)), LIMITS)
        assert is_alarm == expected
        assert reason.startswith(f"{count} of 100 series with an alarm")
        assert ("so this is not an alarm" in reason) != expected
    alone = verdict(days[:1].assign(alarms="weekday"), LIMITS)
    assert alone[0]
    old = pd.concat([days[:1].assign(alarms="level"), days[:1].assign(ds=START + pd.Timedelta(days=7))])
    assert not verdict(old, LIMITS)[0]


def test_days_that_came_without_a_forecast_are_told():
    found = compare(forecasts(20, "a"), actuals(40, "a"), {}, LIMITS)
    assert found.notes == (
        "14 days have come since 2020-01-26 without a forecast, up to 2020-02-09: `python -m stages.forecast` "
        "continues from there",
    )
    assert compare(forecasts(20, "a"), actuals(26, "a"), {}, LIMITS).notes == ()


def test_of_several_versions_each_has_its_share_and_its_own_metrics():
    said = pd.concat([forecasts(20, "a"), forecasts(20, "a", version=2)])
    said = said[(said["version"] == 2) == (said["origin"] >= START + pd.Timedelta(days=12))]
    found = compare(said, actuals(26, "a"), {}, LIMITS)
    assert found.notes == (
        "the forecast days of the last 90 are 84 of version 1, 56 of version 2; slices.csv has the metrics of each",
    )
    by_version = found.slices[found.slices["slice"] == "version"].set_index("value")
    assert by_version["n"].to_dict() == {"1": 84, "2": 56}
    mean = (by_version["mae"] * by_version["n"]).sum() / by_version["n"].sum()
    assert mean == pytest.approx(found.metrics["mae"]["value"])


def test_nothing_to_compare_is_no_alarm_and_is_written(tmp_path):
    for said in (forecasts(7, "a"), forecasts(7, "a").iloc[:0]):
        scored = compare(said, actuals(5, "b"), {}, LIMITS)
        assert (scored.verdict, len(scored.table)) == ("none", 0)
        assert scored.summary.startswith("nothing to compare: ")
        score_files.write(scored, tmp_path)
        assert json.loads((tmp_path / "score.json").read_text())["verdict"] == "none"


def test_equal_scores_give_equal_bytes(tmp_path):
    contents = []
    for name in ("one", "two"):
        folder = tmp_path / name
        score_files.write(
            compare(forecasts(100, "$a"), actuals(100, "$a", shift_from=80, shift=3.0), {}, LIMITS), folder
        )
        contents.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert contents[0] == contents[1]
    assert set(contents[0]) == {"score.json", "table.csv", "slices.csv", "score.png"}
    report = scores_report(json.loads(contents[0]["score.json"]))
    assert report.startswith("**alarm**: 1 of 1 series")
    assert "| mae | " in report
    assert ": $a, level" in report


def labelled(right: int, of: int, metrics: dict[str, Any]) -> Scored:
    targets = ["cat", "dog"] * (of // 2)
    answers = [target if place < right else "pig" for place, target in enumerate(targets)]
    return judge("accuracy", accuracy(answers, targets), metrics, targets)


def test_labelled_answers_are_worse_where_the_interval_of_the_difference_says_so(tmp_path: Path):
    evaluated = {"accuracy": 0.9, "accuracy_low": 0.87, "accuracy_high": 0.93}
    worse = labelled(80, 100, evaluated)
    assert worse.verdict == "alarm"
    assert worse.metrics["accuracy"]["difference"] == pytest.approx(-0.1)
    # MOVER, from the two intervals: the ends of a difference of independent estimates.
    found = worse.metrics["accuracy"]
    assert found["difference_high"] == pytest.approx(-0.1 + np.hypot(found["high"] - 0.8, 0.03))
    assert found["difference_low"] == pytest.approx(-0.1 - np.hypot(0.8 - found["low"], 0.03))
    for right, of in ((0, 28), (86, 100), (100, 100)):
        assert labelled(right, of, evaluated).verdict == "none"
    score_files.write(worse, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"score.json", "slices.csv"}
    assert (tmp_path / "slices.csv").read_text().splitlines() == [
        "slice,value,n,accuracy",
        "class,cat,50,0.8",
        "class,dog,50,0.8",
    ]


class Counting:
    """A model that says `cat` of drawings with one stroke, `dog` of others."""

    metadata = SimpleNamespace(get_input_schema=lambda: SimpleNamespace(input_names=lambda: ["drawing"]))

    def predict(self, frame: pd.DataFrame, params: dict[str, Any]) -> pd.DataFrame:
        return pd.DataFrame({"label": ["cat" if len(each) == 1 else "dog" for each in frame["drawing"]], "error": None})


@pytest.mark.parametrize("cluster", ["", "auto"])
def test_a_labelled_file_is_scored_by_one_process_or_a_clusters(
    cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the cluster are stood in for."""
    handed_out: list[int] = []

    def on_cluster(function, items, **options: Any):
        for item in items:
            handed_out.append(len(item))
            yield item, function(item)

    evaluation = Evaluation("3", {"accuracy": 0.75}, None)
    monkeypatch.setattr(score, "_champion", lambda task: (SimpleNamespace(name="m", version=3), evaluation))
    monkeypatch.setattr(predict, "_loaded", {"models:/m/3": Counting()})
    monkeypatch.setattr(predict, "ordered_map", on_cluster)
    monkeypatch.setenv("UNROLL_RAY", cluster)
    monkeypatch.setenv("UNROLL_THREADS", "1")
    stroke = [[0, 9], [0, 9]]
    drawings = [{"word": "cat", "drawing": [stroke]}, {"word": "dog", "drawing": [stroke]}, {"drawing": [stroke]}]
    file = tmp_path / "known.ndjson"
    file.write_text("".join(f"{json.dumps(drawing)}\n" for drawing in drawings * 400))
    found = score_labelled(Task("sketch"), SimpleNamespace(), str(file))  # type: ignore[arg-type]
    assert (found.metrics["accuracy"]["value"], found.metrics["accuracy"]["n"]) == (0.5, 800)
    assert found.notes == ("400 rows without a right answer are left out",)
    assert found.verdict == "alarm"
    assert sum(handed_out) == (800 if cluster else 0)


def test_series_that_end_before_the_days_of_the_verdict_are_told():
    behind = "1 series, 7 or more days behind the others, such as 'late', last scored on 2020-02-02"
    for days, notes, expected in ((33, (f"the verdict leaves out {behind}",), "none"), (34, (), "alarm")):
        came = pd.concat([actuals(40, "a"), actuals(days, "late", shift_from=0, shift=9.0)])
        found = compare(forecasts(34, "a", "late"), came, {}, LIMITS)
        assert (found.notes, found.verdict) == (notes, expected)


def test_series_of_which_no_forecast_day_has_come_are_told():
    lost = "2 series, for which no forecast day has an observed value, such as 'gone', forecast up to 2020-01-12"
    said = pd.concat([forecasts(34, "a"), forecasts(6, "lost", "gone"), forecasts(34, "yet to come")])
    assert compare(said, actuals(39, "a"), {}, LIMITS).notes == (f"the verdict leaves out {lost}",)


def test_before_the_first_forecast_score_says_what_to_run_first(tmp_path):
    params: Any = SimpleNamespace(monitor=SimpleNamespace(store=f"{tmp_path}/store"))
    with pytest.raises(
        ValueError, match="/store/forecast: no forecasts yet; first run `python -m stages.forecast forecast`, "
    ):
        score_task(Task("forecast"), params)
