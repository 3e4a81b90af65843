"""What a night knows of a task, what it tells, and how it asks."""

from __future__ import annotations

import shutil
import sys
import threading
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from flows.dag import PlannedStage
from flows.execution.locks import StoppedError
from flows.night import questions, report
from flows.night.questions import Questions
from flows.night.task_night import TaskNight
from flows.options import PipelineOptions
from flows.record import NightRecord, read_record
from stages.data.files import write_json
from stages.monitoring.retraining import Retraining
from stages.nightly import Answer, Forecast, SourceNews, Watched
from stages.registry.decision import Decision
from stages.registry.status import ModelStatus, RegistryStatus, Version

BEGAN = datetime(2026, 12, 1, 2, 0, tzinfo=UTC)
NEW = SourceNews(state="new", summary="1 of 1 file changed, 92 lines more")
AWAY = SourceNews(state="away", summary="http://host/days.csv: no answer; the pin stays")
WATCHED = Watched(
    last_training=date(2026, 11, 1),
    drift="drift",
    drift_summary="drift in newly prepared data: level 0.8",
    features=[{"feature": "level", "before": "100", "now": "150"}],
    scores="alarm",
    scores_summary="1 of 1 series with an alarm",
)


def before(**changes: Any) -> NightRecord:
    facts = {"night": "2026-11-30 02:00", "data": "old", "retrain": False, "reason": ""}
    return NightRecord.model_validate(facts | {"done": True, "champion": "3"} | changes)


def one(**changes: Any) -> TaskNight:
    facts: dict[str, Any] = {
        "owner": "forecast",
        "news": NEW,
        "before": before(),
        "data": "new",
    }
    return TaskNight(**(facts | changes))


def version(number: str) -> Version:
    facts = {"decision": Decision.CHAMPION, "reason": "it is better", "signature": "", "run_id": "", "metrics": {}}
    return Version.model_validate({"version": number, "experiment_id": "", **facts})


def registry(champion: str) -> RegistryStatus:
    model = ModelStatus(name="forecaster", has_receipt=True, here=version(champion), champion=version(champion))
    return RegistryStatus(notes=[], fault="", models={"forecast": model})


def test_data_are_news_until_a_night_with_them_has_come_to_its_end() -> None:
    assert one().has_news
    assert one(before=None).has_news
    assert one(before=before(data="new", done=False)).has_news
    assert not one(before=before(data="new")).has_news


def test_a_champion_forecasts_once_from_the_same_data() -> None:
    same = before(data="new")
    assert not one(before=same, champion="3").asks_forecasts
    assert one(before=same, champion="4").asks_forecasts  # a person has approved it meanwhile
    assert one(champion="3").asks_forecasts
    assert not one(champion="").asks_forecasts


def test_a_night_tells_of_data_decisions_and_champions_that_are_other_than_the_last_ones() -> None:
    held = Retraining(False, "never: only a person trains")
    same = before(data="new", reason=held.reason)
    assert not one(before=same, waiting=("forecast",), decision=held).is_told
    assert one(before=same, waiting=("forecast",), decision=Retraining(True, "monthly: due")).is_told
    assert one(before=same, champion="4").is_told
    assert one(news=AWAY, before=same, champion="3").is_told  # each night: nobody knows what the source has
    well_again = SourceNews(state="unchanged", summary="nothing new in 1 file")
    assert one(news=well_again, before=before(data="new", source_fault=AWAY.summary), champion="3").is_told
    assert not one(news=well_again, before=same, champion="3").is_told
    assert one().is_told
    assert not one(failed=True).is_told


def test_the_stages_of_data_and_of_all_models_that_learn_from_them() -> None:
    names = ["download@sketch", "train@drawing", "train@video"]
    assert one(owner="sketch").stages(names) == ["download@sketch", "train@drawing"]


def test_a_silent_registry_changes_nothing() -> None:
    night = one()
    night.registered(None, ["forecast"])
    assert (night.champion, night.models) == ("3", ())
    night.registered(registry("4"), ["forecast"])
    assert (night.champion, night.models) == ("4", ("forecaster version 4: champion: it is better",))


def test_what_a_night_has_found_is_there_for_the_next_one(tmp_path: Path) -> None:
    night = one(waiting=("forecast",), watched=WATCHED, decision=Retraining(False, "monthly: not yet"))
    night.write(tmp_path, BEGAN)
    kept = read_record(tmp_path, "forecast")
    assert kept == NightRecord(
        night="2026-12-01 02:00",
        data="new",
        source=NEW.summary,
        retrain=False,
        reason="monthly: not yet",
        watched=WATCHED,
    )
    one(news=AWAY).write(tmp_path, BEGAN)
    away = read_record(tmp_path, "forecast")
    assert away is not None
    assert away.source_fault == AWAY.summary
    later = one(before=kept)
    later.hear(None)
    assert later.watched == WATCHED


@pytest.mark.parametrize(
    ("night", "expected"),
    [
        (one(), "no new data to learn from"),
        (one(news=AWAY), AWAY.summary),
        (
            one(failed=True),
            "its data could not be updated, so nothing is decided and the champion stays",
        ),
        (
            one(waiting=("forecast",), decision=Retraining(False, "never: only a person trains, with `dvc repro`")),
            "forecast held back: never: only a person trains, with `dvc repro`",
        ),
        (
            one(waiting=("drawing", "sketch"), decision=Retraining(True, "on_drift: the input has drifted")),
            "drawing, sketch trained again: on_drift: the input has drifted",
        ),
        (
            one(waiting=("forecast",), decision=Retraining(True, "monthly: due"), goes_on="2026-11-30 02:00"),
            "forecast trained again, as decided in the interrupted nightly run of 2026-11-30 02:00: monthly: due",
        ),
        (
            one(edited=PlannedStage(name="train@forecast", verdict="run", reasons=("forecast.train.seed: 1 → 2",))),
            "train@forecast runs regardless of the policy (forecast.train.seed: 1 → 2)",
        ),
    ],
)
def test_the_decision_in_words(night: TaskNight, expected: str) -> None:
    assert report.decision(night) == expected


def test_a_night_whose_host_is_away_says_that_the_champion_stays() -> None:
    assert report.lines(one(news=AWAY)) == [f"forecast: source: {AWAY.summary}; the champion stays"]
    assert report.lines(one(news=SourceNews(state="unchanged", summary="nothing new in 1 file"))) == []


def test_the_report_stands_in_a_file_and_as_an_artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, str] = {}
    monkeypatch.setattr(report, "create_markdown_artifact", lambda text, key, description: made.update({key: text}))
    forecast = Forecast(summary="version 4 has forecast 1 of 1 series", rows=[{"series": "value", "day": "2026-12-02"}])
    night = one(
        waiting=("forecast",),
        watched=WATCHED,
        decision=Retraining(True, "on_new_data"),
        forecast=forecast,
        champion="4",
        models=("forecaster version 4: champion",),
    )
    score = {"verdict": "alarm", "summary": "1 of 1 series", "metrics": {}, "notes": []}
    alarms = [{"day": "2026-11-30", "series": "value", "chart": "level"}]
    write_json(tmp_path / "nights" / "forecast" / "scores" / "score.json", {**score, "alarms": alarms})
    report.show(tmp_path, night)
    text = made["night-forecast"]
    for part in (
        "trained again",
        "drift in newly prepared data: level 0.8",
        "| level | 100 | 150 |",
        "**alarm**: 1 of 1 series",
        "2026-11-30",
        "2026-12-02",
    ):
        assert part in text
    assert text.strip() in (tmp_path / "nights" / "forecast" / "report.md").read_text(encoding="utf-8")
    row = report.decisions([night]).splitlines()[-1]
    assert row.startswith(
        "| forecast | 1 of 1 file changed, 92 lines more | drift in newly prepared data: level 0.8 | alarm: "
    )


def test_the_newest_replay_stands_in_the_report_as_long_as_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: dict[str, str] = {}
    monkeypatch.setattr(report, "create_markdown_artifact", lambda text, key, description: made.update({key: text}))
    monkeypatch.setattr(report.pictures, "markdown", lambda drawn: f"pictures: {', '.join(drawn)}")
    replay, night = tmp_path / "replay" / "forecast", tmp_path / "nights" / "forecast"
    report.show(tmp_path, one())
    assert "Replay" not in made["night-forecast"]
    replay.mkdir(parents=True)
    (replay / "report.md").write_text("| never | 1 |\n")
    (replay / "replay.png").write_bytes(b"a picture")
    report.show(tmp_path, one())
    assert "## Replay\n\n| never | 1 |" in made["night-forecast"]
    assert made["night-forecast"].endswith("pictures: replay")
    assert "| never | 1 |" in (night / "report.md").read_text()  # which goes to MLflow with all that lies beside it
    assert (night / "replay.png").read_bytes() == b"a picture"
    shutil.rmtree(replay)
    report.show(tmp_path, one())
    assert "Replay" not in made["night-forecast"]
    assert not (night / "replay.png").exists()


def test_an_event_can_be_matched_by_what_was_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(report, "emit_event", lambda event, **facts: sent.append({"event": event, **facts}))
    report.emit(one(waiting=("forecast",), watched=WATCHED, decision=Retraining(False, "never")))
    labels = sent[0]["resource"]
    assert sent[0]["event"] == "unroll.night.decided"
    found = [labels[f"unroll.{name}"] for name in ("task", "decision", "drift", "scores", "source")]
    assert found == ["forecast", "held_back", "drift", "alarm", "new"]


def test_the_commit_says_what_came_and_what_became_of_it() -> None:
    message = report.commit_message(BEGAN, [one()], ["5 stages: 5 Completed", "forecast: …"])
    assert message == (
        "Nightly run of 2026-12-01: forecast: 1 of 1 file changed, 92 lines more\n\n"
        "5 stages: 5 Completed\n\nforecast: …\n"
    )


def test_what_came_in_a_night_that_was_cut_short_stands_in_the_next_ones_commit() -> None:
    unchanged = SourceNews(state="unchanged", summary="nothing new in 1 file")
    cut_short = before(done=False, source=NEW.summary)
    assert "92 lines more" in report.commit_message(BEGAN, [one(news=unchanged, before=cut_short)], [])
    done = before(source=NEW.summary)
    assert "no new data at the sources" in report.commit_message(BEGAN, [one(news=unchanged, before=done)], [])


def test_a_night_starts_from_the_checkout() -> None:
    with pytest.raises(ValidationError, match="found refresh with overrides"):
        PipelineOptions(refresh=True, overrides=["forecast.train.seed=2"])
    with pytest.raises(ValidationError, match="found commit without refresh"):
        PipelineOptions(commit=True)
    assert not PipelineOptions().refresh


# In place of `stages.nightly`: it answers for one task, has a fault for another, and dies before the third.
FAKE = """
import sys
from pathlib import Path
folder = Path(sys.argv[-1])
(folder / "forecast.json").write_text('{"state": "new", "summary": "more"}')
(folder / "sketch.json").write_text('{"fault": "no such file"}')
print("unroll: it broke")
sys.exit(1)
"""


def test_each_task_has_its_answer_or_a_line_that_says_why_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = questions.run_supervised

    def instead(command: list[str], **options: Any) -> Any:
        return run([sys.executable, "-c", FAKE, *command[3:]], **options)

    monkeypatch.setattr(questions, "run_supervised", instead)
    stop = threading.Event()
    ask = Questions(tmp_path, stop=stop, descriptors=(), on_line=lambda line: None)
    assert ask.refresh(["forecast", "sketch", "video"]) == {
        "forecast": SourceNews(state="new", summary="more"),
        "sketch": "no such file",
        "video": "unroll: it broke",
    }
    assert ask.note([]) == {}
    stop.set()
    with pytest.raises(StoppedError):
        ask.note(["forecast"])
    assert Answer().fault == ""
