"""Replay: nothing that is decided or forecast on a day knows of a later one; when policies train; what they cost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import date, timedelta
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from flows.replay import outcome
from flows.replay.options import OptionError, check_task, parallel_trainings, plan
from flows.replay.policies import POLICIES, foreseen, reason_to_train
from flows.replay.raw_files import RawFiles
from flows.replay.run import replay
from flows.replay.snapshot import Snapshot
from flows.replay.summary import rows, scored, shown
from flows.replay.train_snapshot import with_quick_baselines
from flows.replay.trainings import Training, Trainings
from flows.replay.walk import BASELINE, Decision, Walk
from flows.replay.watch import Charts
from stages.monitoring.scoring import compare
from stages.params import AlarmParams, load
from stages.provenance.hashes import content_md5
from stages.registry.decision import Decision as State
from stages.registry.decision import Verdict
from stages.tasks.forecast.data.series import calendar_date, day_number
from stages.tasks.forecast.params import PrepareParams
from stages.tasks.protocol import Task
from tests.unit import test_forecast_prepare

FIRST = date(2020, 1, 1)
DAYS = 160
TASK = Task("forecast")


def prepare_params(**values: Any) -> PrepareParams:
    short = {"duplicates": "mean", "max_gap_days": 5, "validation_days": 7, "test_days": 7}
    return test_forecast_prepare.prepare_params(**{**short, **values})


def written(folder: Path, lines: list[str], name: str = "series.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def cut(raw: Path, day: date, target: Path, params: PrepareParams) -> str:
    RawFiles(raw, params).write(day_number(day), target)
    return next(target.iterdir()).read_text(encoding="utf-8-sig")


def test_a_csv_is_cut_at_the_end_of_a_day_in_its_own_order(tmp_path: Path) -> None:
    lines = ["date,y", "2020-01-03,3", '2020-01-01,"1"', "2020-01-02,x", "2020-01-04,4", "2020-01-02,2"]
    found = cut(written(tmp_path / "raw", lines), date(2020, 1, 2), tmp_path / "cut", prepare_params())
    assert found.splitlines() == ["date,y", '2020-01-01,"1"', "2020-01-02,x", "2020-01-02,2"]


def test_what_is_known_of_days_ahead_stays_and_nothing_else(tmp_path: Path) -> None:
    lines = ["date,y,price,rain", *(f"2020-01-{day:02},{day},1.5,7" for day in range(1, 20))]
    params = prepare_params(known_columns=["price"], past_columns=["rain"])
    found = cut(written(tmp_path / "raw", lines), date(2020, 1, 5), tmp_path / "cut", params).splitlines()
    assert found[5:7] == ["2020-01-05,5,1.5,7", "2020-01-06,,1.5,"]
    assert len(found) == 1 + 5 + 7


def test_a_tsf_is_cut_within_its_lines(tmp_path: Path) -> None:
    head = [
        "# made up",
        "@attribute series_name string",
        "@attribute start_timestamp date",
        "@frequency daily",
        "@data",
    ]
    later, undated = "b:2020-01-04 00-00-00:5,6", "c:1.1.2020:5"
    lines = [*head, "# one", later, undated, "a:2020-01-01 00-00-00:1,2,3,4", later]
    raw = written(tmp_path / "raw", lines, "series.tsf")
    found = cut(raw, date(2020, 1, 3), tmp_path / "cut", prepare_params())
    # A series without a name is called after its line, which must be the same on all days.
    assert found.splitlines() == [*head, "", "", "", "a:2020-01-01 00-00-00:1,2,3", ""]
    assert RawFiles(raw, prepare_params()).last_day == day_number(date(2020, 1, 5))


def test_lines_without_a_day_belong_to_no_day_and_are_counted(tmp_path: Path) -> None:
    raw = written(tmp_path / "raw", ["date,y", "2020-01-01,1", "01.02.2020,2", "2020-01-02"])
    files = RawFiles(raw, prepare_params())
    assert (files.undated, "line 3" in files.example) == (2, True)
    assert files.last_day == day_number(date(2020, 1, 1))


def test_text_in_any_encoding_is_cut_as_it_was_meant(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "series.csv").write_bytes("date,é\n2020-01-01,1\n".encode("cp1252"))
    params = prepare_params(encoding="cp1252", value_columns=["é"])
    assert cut(tmp_path / "raw", date(2020, 1, 1), tmp_path / "cut", params).startswith("date,é\n")


def test_a_folder_without_files_says_how_to_fetch_them(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dvc repro download@forecast"):
        RawFiles(tmp_path, prepare_params())


def test_a_question_holds_the_past_of_prepared_series_and_what_is_known_ahead(tmp_path: Path) -> None:
    days = [FIRST + timedelta(day) for day in range(60)]
    lines = [
        f"{day},{name},{place % 7},2"
        for name, first in (("long", 0), ("young", 30))
        for place, day in enumerate(days)
        if place >= first
    ]
    params = cast(Any, SimpleNamespace(prepare=prepare_params(id_column="id", known_columns=["price"])))
    raw = RawFiles(written(tmp_path / "raw", ["date,id,y,price", *lines]), params.prepare)
    question, rejected = Snapshot.take(TASK, params, raw, day_number(days[49]), tmp_path / "cut").question()
    assert rejected == {"young"}
    assert question["unique_id"].unique().tolist() == ["long"]
    assert question["ds"].dt.date.tolist() == days[:57]
    assert question["y"].isna().tolist() == [False] * 50 + [True] * 7
    assert (question["price"] == 2).all()


def series(seed: int = 0) -> list[str]:
    """Lines of a daily series with holes, though none after a day of decision, duplicates and a disorder."""
    random = np.random.default_rng(seed)
    holes = {
        day for day in range(DAYS) if random.random() < 0.05 and day_number(FIRST) + day - 1 not in decision_days()
    }
    lines = [
        f"{FIRST + timedelta(day)},{10 + day % 7 + random.normal():.3f}" for day in range(DAYS) if day not in holes
    ]
    lines += [lines[place] for place in (3, 50, 100)]
    lines[20], lines[30] = lines[30], lines[20]
    return ["date,y", *lines]


CHANGES = ("another value", "no line", "no value", "no number", "a second value")


def changed(lines: list[str], after: date, change: str, random: np.random.Generator) -> list[str]:
    """The lines with a change of some of those after a day, the very first among them."""
    later = [place for place, line in enumerate(lines[1:], start=1) if date.fromisoformat(line[:10]) > after]
    some = {min(later, key=lines.__getitem__), *random.choice(later, size=random.integers(1, len(later))).tolist()}
    found: list[str | None] = list(lines)
    for place in some:
        day = lines[place][:10]
        texts = (f"{day},{random.normal() * 1e3:.2f}", None, f"{day},", f"{day},no number", lines[place])
        found[place] = texts[CHANGES.index(change)]
        if change == CHANGES[-1]:
            found.append(f"{day},{random.normal():.2f}")
    return [line for line in found if line is not None]


class LastDay:
    """Answers with the last value, and with a number that any other data in training would change."""

    def __init__(self, signature: str) -> None:
        self.shift = int(signature[:6], 16) / 2**24

    def predict(self, frame: pd.DataFrame, *, on_error: str) -> pd.DataFrame:
        known = frame.dropna(subset="y")
        last = known.sort_values("ds", kind="stable").iloc[-1]
        ds = pd.date_range(last["ds"] + pd.Timedelta(days=1), periods=7)
        mean = last["y"] + self.shift + 1e-3 * known["y"].sum()
        return pd.DataFrame(
            {"unique_id": "y", "ds": ds, "mean": mean, "q05": mean - 2, "q50": mean, "q95": mean + 2, "error": None}
        )


def decision_days(every: int = 16) -> range:
    return range(day_number(FIRST) + 70, day_number(FIRST) + DAYS - 7, every)


def walked(lines: list[str], folder: Path, every: int = 16) -> Walk:
    """All policies over the second half of a series, with models that cost nothing."""
    params = cast(Any, SimpleNamespace(prepare=prepare_params()))
    raw, numbers = RawFiles(written(folder / "raw", lines), params.prepare), count()
    taken: dict[int, Snapshot] = {}

    def snapshot(day: int) -> Snapshot:
        taken[day] = Snapshot.take(TASK, params, raw, day, folder / str(next(numbers)))
        return taken[day]

    def training(day: int) -> Training:
        return Training(day, content_md5(taken[day].prepared), folder, folder, 1.0)

    def judge(snapshot: Snapshot, candidate: Training, champion: Training | None) -> Verdict:
        won = champion is None or candidate.day - champion.day > 40
        return Verdict(State.CHAMPION if won else State.CHALLENGER_LOST, candidate.signature)

    def watch(scored: pd.DataFrame) -> str:
        error = (scored["y"] - scored["mean"]).abs().mean()
        return f"{error:.6f}" if error > 3 else ""

    walk = Walk(snapshot, training, lambda t: LastDay(t.signature), judge, lambda: watch, pause_days=7)
    days = decision_days(every)
    with suppress(ValueError):  # a later change may leave too little to prepare; all before it must be the same
        walk.run(POLICIES, days, days[-1] + 7)
    shutil.rmtree(folder)
    return walk


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    walk = walked(series(), tmp_path_factory.mktemp("walk") / "unchanged")
    trained = [(one.policy, one.verdict) for one in walk.decisions if one.reason]
    assert {("monthly", "champion"), ("monthly", "challenger_lost")} <= set(trained)
    assert 1 < [policy for policy, _ in trained].count("on_alarm") < len(decision_days())
    return walk


@pytest.mark.parametrize("change", CHANGES)
def test_no_later_change_changes_what_was_decided_and_forecast(change: str, unchanged: Walk, tmp_path: Path) -> None:
    random = np.random.default_rng(CHANGES.index(change))
    after = calendar_date(int(random.choice(decision_days()[1:-1])))
    walk = walked(changed(series(), after, change, random), tmp_path / "changed")

    def until(walk: Walk) -> tuple[list[Decision], pd.DataFrame]:
        forecasts = pd.concat(walk.forecasts, ignore_index=True)
        return [one for one in walk.decisions if one.day <= after], forecasts[forecasts["day"] <= pd.Timestamp(after)]

    (decisions, forecasts), (expected_decisions, expected_forecasts) = until(walk), until(unchanged)
    assert len(decisions) >= len(POLICIES)
    assert decisions == expected_decisions
    pd.testing.assert_frame_equal(forecasts, expected_forecasts)


def test_a_change_of_the_past_does_change_them(unchanged: Walk, tmp_path: Path) -> None:
    lines = series()
    lines[1] = f"{lines[1][:10]},11.5"  # far before the first day of decision
    walk = walked(lines, tmp_path / "changed", every=60)
    assert walk.decisions[0].said != unchanged.decisions[0].said


def test_policies_with_one_champion_ask_it_once_and_forecast_alike(unchanged: Walk) -> None:
    forecasts = pd.concat(unchanged.forecasts)
    first = forecasts[forecasts["day"] == forecasts["day"].min()]
    means = [part["mean"].tolist() for policy, part in first.groupby("policy") if policy != BASELINE]
    assert len(means) == len(POLICIES)
    assert all(mean == means[0] for mean in means)
    assert len(first[first["policy"] == BASELINE]) == 7


def days_of(
    policy: str, days: list[date], alarms: Callable[[date], str] = lambda day: "", pause: int = 7
) -> list[date]:
    found, last, alarm = [], None, ""
    for day in days:
        alarm = alarms(day) or alarm
        if reason_to_train(cast(Any, policy), day, last, alarm=alarm, pause_days=pause):
            found.append(day)
            last, alarm = day, ""
    return found


WEEKS = [date(2013, 1, 1) + timedelta(7 * week) for week in range(110)]


def test_never_trains_once_and_then_never() -> None:
    assert days_of("never", WEEKS) == WEEKS[:1]


def test_monthly_and_yearly_train_on_the_first_day_of_decision_of_a_month() -> None:
    monthly, yearly = days_of("monthly", WEEKS), days_of("yearly", WEEKS)
    assert [day.strftime("%Y-%m") for day in monthly[:3]] == ["2013-01", "2013-02", "2013-03"]
    assert monthly == [next(day for day in WEEKS if day.strftime("%Y-%m") == m.strftime("%Y-%m")) for m in monthly]
    assert yearly == [date(2013, 1, 1), date(2014, 1, 7), date(2015, 1, 6)]
    assert set(yearly) <= set(monthly)  # so that they share trainings


def test_an_alarm_trains_once_and_waits_for_the_pause() -> None:
    raised = {WEEKS[3], WEEKS[4]}
    assert days_of("on_alarm", WEEKS, lambda day: "level" if day in raised else "", pause=21) == [
        WEEKS[0],
        WEEKS[3],
        WEEKS[6],
    ]


def test_new_data_trains_after_each_pause() -> None:
    assert days_of("on_new_data", WEEKS[:6], pause=14) == [WEEKS[0], WEEKS[2], WEEKS[4]]


def test_foreseen_are_the_days_that_no_data_decides() -> None:
    found = foreseen(["never", "yearly", "on_alarm"], WEEKS, 7)
    assert found == [date(2013, 1, 1), date(2014, 1, 7), date(2015, 1, 6)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("2013-1-1", "2014-01-01", "7d", "never"), "--from: found '2013-1-1'; allowed: a day such as 2018-12-31"),
        (("2013-01-01", "then", "7d", "never"), "--to: found 'then'; allowed: a day such as"),
        (
            ("2014-01-02", "2014-01-01", "7d", "never"),
            "--from: found 2014-01-02; allowed: a day up to --to, 2014-01-01",
        ),
        (("2013-01-01", "2014-01-01", "0d", "never"), "--every: found '0d'; allowed: a number of days"),
        (("2013-01-01", "2014-01-01", "week", "never"), "--every: found 'week'; allowed: a number of days"),
        (
            ("2013-01-01", "2014-01-01", "7d", "never,often"),
            "--retrain: found 'often'; allowed: never, yearly, monthly",
        ),
        (("2013-01-01", "2014-01-01", "7d", "never,never"), "--retrain: found never twice; allowed: each policy once"),
        (("2013-01-01", "2014-01-01", "7d", ""), "--retrain: found ''; allowed: never, "),
    ],
)
def test_a_bad_option_is_one_line(options: tuple[str, str, str, str], message: str) -> None:
    with pytest.raises(OptionError) as error:
        plan(*options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_another_task_is_told_that_it_has_no_days() -> None:
    with pytest.raises(OptionError, match="found 'sketch'; allowed: forecast, the only task with daily data"):
        check_task("sketch")


def test_trainings_at_once_are_as_many_as_cores_allow_and_at_least_one() -> None:
    assert parallel_trainings(None, 10**6) == 1
    assert parallel_trainings(3, 10**6) == 3
    with pytest.raises(OptionError, match="--parallel: found 0; allowed: 1 or more"):
        parallel_trainings(0, 1)


def test_weights_that_may_know_the_future_are_refused() -> None:
    params = cast(Any, SimpleNamespace(train=SimpleNamespace(start_from="models:/forecaster@champion")))
    planned = plan("2013-01-01", "2013-01-16", "7d", "never")
    with pytest.raises(
        OptionError, match="forecast.train.start_from: found 'models:/forecaster@champion'; allowed in a"
    ):
        replay(TASK, params, planned, every="7d", promotion="gate", parallel=1)


def test_a_plan_has_its_days_and_policies_in_order() -> None:
    planned = plan("2013-01-01", "2013-01-16", "7d", "monthly, never")
    assert planned.days == (date(2013, 1, 1), date(2013, 1, 8), date(2013, 1, 15))
    assert planned.policies == ("monthly", "never")


def test_the_summary_compares_policies_on_the_same_days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ds = pd.date_range("2020-01-01", periods=56)
    came = pd.DataFrame({"unique_id": "a", "ds": ds, "y": 10.0, "scale": 2.0})
    day = {"never": 4.0, "monthly": 2.0, BASELINE: 8.0}
    forecasts = pd.concat(
        pd.DataFrame(
            {"unique_id": "a", "ds": ds, "mean": 10 + error, "q05": 9.0, "q95": 11.0, "policy": policy, "day": ds[0]}
        )
        for policy, error in day.items()
    )
    decided = [
        Decision("never", date(2020, 1, 1), "", "first", "champion", "", date(2020, 1, 1), 3600.0),
        Decision("monthly", date(2020, 1, 1), "", "first", "champion", "", date(2020, 1, 1), 3600.0),
        Decision("monthly", date(2020, 2, 1), "late", "1 month", "challenger_lost", "", date(2020, 1, 1), 1800.0),
    ]
    found = {row.policy: row for row in rows(scored(forecasts, came), decided, ["never", "monthly"])}
    assert (found["never"].mae, found["never"].mase, found["never"].coverage) == (4.0, 2.0, 1.0)
    assert found["monthly"].saved == found["monthly"].saved_low == pytest.approx(0.5)
    assert found[BASELINE].saved == pytest.approx(-1.0)
    assert (found["monthly"].trainings, found["monthly"].promoted, found["monthly"].alarms) == (2, 1, 1)
    assert found["monthly"].hours == pytest.approx(1.5)
    text = shown(list(found.values()))
    assert "-50.0% [-50.0%, -50.0%]" in text
    assert text.splitlines()[-1].startswith(BASELINE)
    written_by = {"forecasts": [forecasts.assign(q50=10.0, version=1)], "came": [came], "decisions": decided}
    monkeypatch.chdir(tmp_path)
    facts = {"from": "2020-01-01", "to": "2020-02-01", "every": "31d", "promotion": "gate"}
    outcome.write("forecast", cast(Any, SimpleNamespace(**written_by, unanswered={})), ["never", "monthly"], facts)
    lines = Path("replay/forecast/report.md").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "2020-01-01 to 2020-02-01, decided every 31d; the gate decides who is champion."
    shown_again = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| m")]
    assert shown_again == [
        ["monthly", "2", "1", "1", "1.50", "2", "1.000", "100.0%", "-50.0% [-50.0%, -50.0%]"],
        ["monthly", "1.000"],
    ]
    assert Path("replay/forecast/replay.png").stat().st_size > 1000


def test_charts_day_after_day_raise_the_alarms_of_the_whole_store() -> None:
    random, numbers = np.random.default_rng(0), range(300)
    ds = pd.date_range("2020-01-01", periods=len(numbers))
    y = random.normal(size=len(numbers)) + np.where(np.arange(len(numbers)) > 150, 3.0, 0.0)
    table = pd.DataFrame({"unique_id": "a", "ds": ds, "mean": 0.0, "q05": -1.645, "q50": 0.0, "q95": 1.645})
    table = table.assign(version=7, origin=[ds[7 * (place // 7)] for place in numbers])
    came = pd.DataFrame({"unique_id": "a", "ds": ds, "y": y, "scale": 1.0})
    limits = AlarmParams(level=5.5, spread=8.0, weekday=8.0, recent_days=7, chance=0.1)
    charts, told = Charts(limits, lambda version: {}), {}
    for origin, part in table.groupby("origin"):
        told[origin] = charts(part.merge(came, on=["unique_id", "ds"]))
    whole = compare(table, came, {}, limits)
    weeks = {ds[7 * ((pd.Timestamp(alarm.day) - ds[0]).days // 7)] for alarm in whole.alarms}
    assert whole.alarms
    assert {origin for origin, reason in told.items() if reason} == weeks


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Callable[[], Trainings], list[Path]]:
    """Trainings of a short series that write their folder's name as weights, and the folders that were trained in."""
    raw = written(tmp_path / "raw", series())
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("edited: meanwhile\n")
    block = SimpleNamespace(model_dump=dict)
    params = cast(Any, SimpleNamespace(prepare=prepare_params(), model=block, train=block, evaluate=block))
    runs: list[Path] = []

    def run(self: Trainings, folder: Path) -> float:
        runs.append(folder)
        if len(runs) == 1:
            raise RuntimeError("killed")
        assert (folder / TASK.paths.prepared).is_dir()
        assert (folder / "params.yaml").read_text() == "made: up\n"
        written(folder / TASK.paths.weights, [folder.name], "weights")
        return 2.0

    monkeypatch.setattr(Trainings, "_run", run)
    scratch = count()

    def make() -> Trainings:
        folder = tmp_path / f"scratch{next(scratch)}"
        folder.mkdir()
        (folder / "params.yaml").write_text("made: up\n")
        return Trainings(TASK, params, RawFiles(raw, params.prepare), folder, parallel=1)

    return make, runs


def test_a_training_is_kept_by_what_decides_it_and_goes_on_where_it_was_stopped(
    trained: tuple[Callable[[], Trainings], list[Path]],
) -> None:
    make, runs = trained
    day, later = day_number(FIRST) + 100, day_number(FIRST) + 101
    with make() as trainings, pytest.raises(RuntimeError, match="killed"):
        trainings.make([day])
    assert not [path for path in runs[0].parent.iterdir() if path.is_dir() and not path.name.startswith(".")]
    with make() as trainings:
        trainings.make([day, later])
        kept = trainings.of(day)
    assert runs[1] == runs[0]  # the folder that it had begun in
    with make() as trainings:
        trainings.make([day, later])
        assert trainings.of(day) == kept
    assert len(runs) == 3
    assert kept.seconds == 2.0
    assert [path.name for path in kept.weights.iterdir()] == ["weights"]
    assert not (kept.folder / "data").exists()


def test_a_second_replay_is_told_that_one_is_running(trained: tuple[Callable[[], Trainings], list[Path]]) -> None:
    make, _ = trained
    with make(), pytest.raises(RuntimeError, match="another replay is running"), make():
        pass


def test_a_replay_measures_and_asks_for_the_quick_ones_of_what_must_be_beaten():
    params = load()["forecast"]
    quick = with_quick_baselines(params)
    assert quick.must_beat() == ["naive", "seasonal_naive"]
    assert quick.evaluate.model_dump()["baselines"] == ["naive", "seasonal_naive"]
    slow = params.register_.model_copy(update={"must_beat": ["autoets"]})
    assert with_quick_baselines(params.model_copy(update={"register_": slow})).must_beat() == ["seasonal_naive"]
