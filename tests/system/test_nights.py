"""Nights on real servers, with a source whose file grows: what is new is learned, what is not costs nothing.

The tests are one story and run in their order.
"""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from playwright.sync_api import Page, expect

from flows.night.commit import BRANCH
from flows.night.report import EVENT
from stages.recipe import override
from tests.pipeline.conftest import Clone
from tests.unit.http_server import Host, serving

from .house import House, Run, house, stage_processes, wait_until

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.in_order]

FIRST, GROWN = 400, 900  # days of the series
STAGES = [f"{verb}@forecast" for verb in ("download", "preprocess", "train", "evaluate", "register")]


def series(days: int) -> bytes:
    """Weeks with a high Monday, from day 400 on with a low one: who has learned the first knows nothing of these."""
    start, lines = date(2024, 1, 1), ["day,value"]
    for day in range(days):
        swing = 20 * math.cos(2 * math.pi * day / 7) * (1 if day < FIRST else -1)
        lines.append(f"{start + timedelta(day)},{100 + swing + 3 * math.sin(day * 1.7):.2f}")
    return ("\n".join(lines) + "\n").encode()


@dataclass
class Story:
    """A house with a source, and what lets the source go away."""

    house: House
    host: Host
    away: ExitStack

    @property
    def folder(self) -> Path:
        return self.house.clone.folder

    def begin(self, **options: Any) -> Run:
        asked = {"tasks": ["forecast"], "where": "here", "refresh": True, "commit": True}
        return self.house.start("pipeline/pipeline", options=asked | options)

    def night(self) -> Run:
        run = self.begin()
        assert run.wait(seconds=500) == "COMPLETED", run.message() + run.logs()
        return run

    def champion(self) -> str:
        store = MlflowClient(f"sqlite:///{self.folder / 'mlflow.db'}")
        return str(store.get_model_version_by_alias("forecaster", "champion").version)

    def record(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "nights" / "forecast" / "night.json").read_text(encoding="utf-8")))

    def stored(self) -> list[str]:
        """The forecasts' files, below the task's folder."""
        root = self.folder / "forecasts" / "forecast"
        return sorted(path.relative_to(root).as_posix() for path in root.rglob("*.parquet"))

    def tip(self) -> str:
        return self.house.clone.run("git", "rev-parse", BRANCH).strip()


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with ExitStack() as stack:
        away = stack.enter_context(ExitStack())
        host = away.enter_context(serving())
        host.put("/days.csv", series(FIRST))

        def change(clone: Clone) -> None:
            settings = ["source.kind=csv", f"source.url={host.url}/days.csv", "prepare.date_columns=[day]"]
            settings += ["prepare.date_format='%Y-%m-%d'", "prepare.value_columns=[value]"]
            settings += [
                "prepare.validation_days=28",
                "prepare.test_days=28",
                "evaluate.baselines=[naive]",
                "register.must_beat=[naive]",
            ]
            settings += ["train.epochs=8", "register.confidence=0.6", "monitor.pause_days=0"]
            override([f"forecast.{setting}" for setting in settings], clone.folder / "params.yaml")

        built = stack.enter_context(house(tmp_path_factory.mktemp("nights"), change))
        yield Story(built, host, away)


def test_the_first_night_trains_forecasts_and_commits(story: Story) -> None:
    head = story.house.clone.run("git", "rev-parse", "HEAD")
    run = story.night()
    assert run.tasks() == dict.fromkeys(STAGES, "Completed")
    assert story.champion() == "1"
    origin = date(2024, 1, 1) + timedelta(FIRST)
    assert story.stored() == [f"origin={origin}/version=1.parquet"]
    assert story.house.clone.run("git", "rev-parse", "HEAD") == head
    changed = story.house.clone.run("git", "diff", "--name-only", "HEAD", BRANCH).split()
    assert changed == ["dvc.lock", "sources/forecast.json"]


def test_a_night_that_is_killed_while_it_trains_leaves_the_champion(story: Story) -> None:
    story.host.files["/days.csv"].content, story.host.files["/days.csv"].etag = series(GROWN), '"second"'
    before = story.tip()
    run = story.begin()
    run.wait_for_task("train@forecast", seconds=300)
    run.process().send_signal(signal.SIGKILL)
    wait_until(lambda: not stage_processes(story.folder), "no process of a stage", seconds=30)
    assert run.wait() == "CRASHED"
    assert "on_new_data: there are data that the model was not trained on" in run.artifacts()["decision"]
    assert (story.champion(), story.tip()) == ("1", before)
    record = story.record()
    assert (record["retrain"], record["done"]) == (True, False)


def test_the_next_night_goes_on_and_the_champion_moves(story: Story, page: Page, tmp_path: Path) -> None:
    before = story.tip()
    run = story.night()
    assert run.tasks()["download@forecast"] == "Cached"
    assert run.tasks()["register@forecast"] == "Completed"
    assert story.champion() == "2"
    origin = date(2024, 1, 1) + timedelta(GROWN)
    assert f"origin={origin}/version=2.parquet" in story.stored()
    artifacts = run.artifacts()
    assert "interrupted nightly run of" in artifacts["decision"]
    told = artifacts["night-forecast"]
    assert f"| value | {origin} |" in told
    for title in ("## Drift", "## Scores", "## Forecasts", "![score](data:image/webp;base64,"):
        assert title in told
    watched = story.record()["watched"]
    assert watched["drift"] == "drift"
    assert watched["scores"] == "alarm"
    assert story.tip() != before
    message = story.house.clone.run("git", "log", "-1", "--format=%B", BRANCH)
    assert message.splitlines()[0].endswith("forecast: 1 of 1 files changed, 500 lines more")
    assert "forecaster version 2: champion" in message
    _stands_in_mlflow(story)
    _can_be_listened_to(story)
    page.goto(f"{story.house.servers.prefect}/runs/flow-run/{run.id}")
    page.get_by_text("Artifacts", exact=True).click()
    page.get_by_text("night-forecast", exact=True).first.click()
    expect(page.get_by_role("cell", name=str(origin)).first).to_be_visible()
    expect(page.get_by_role("img", name="score").first).to_be_visible()
    page.screenshot(path=tmp_path / "night.png", full_page=True)


def _stands_in_mlflow(story: Story) -> None:
    store = MlflowClient(f"sqlite:///{story.folder / 'mlflow.db'}")
    version = store.get_model_version("forecaster", "2")
    run = str(version.run_id)
    assert (version.tags["unroll.drift"], version.tags["unroll.scores"]) == ("drift", "alarm")
    (where,) = [entry.path for entry in store.list_artifacts(run, "registered") if entry.is_dir]
    files = {Path(entry.path).name for entry in store.list_artifacts(run, f"{where}/night")}
    assert {"report.md", "forecasts.csv", "scores", "drift"} <= files


def _can_be_listened_to(story: Story) -> None:
    asked = {"filter": {"event": {"name": [EVENT]}}, "limit": 10}
    found = wait_until(lambda: story.house.post("events/filter", asked)["events"], "the night's event", seconds=30)
    labels = found[0]["resource"]
    assert (labels["unroll.decision"], labels["unroll.task"]) == ("retrain", "forecast")


def test_a_night_without_news_does_nothing(story: Story) -> None:
    files = [story.folder / name for name in ("dvc.lock", "sources/forecast.json", "nights/forecast/night.json")]
    before = (story.tip(), story.stored(), [(path.read_bytes(), path.stat().st_mtime_ns) for path in files])
    since = time.monotonic()
    run = story.night()
    print(f"\na night without news took {time.monotonic() - since:.1f} s")
    assert set(run.tasks().values()) == {"Cached"}
    assert "no new data to learn from" in run.artifacts()["decision"]
    assert "night-forecast" not in run.artifacts()
    assert before == (story.tip(), story.stored(), [(path.read_bytes(), path.stat().st_mtime_ns) for path in files])


def test_two_nights_at_once_share_the_work(story: Story) -> None:
    runs = [story.begin(), story.begin()]
    assert [run.wait() for run in runs] == ["COMPLETED", "COMPLETED"]
    assert any("waiting for another nightly run in this checkout" in run.logs() for run in runs)


def test_code_that_differs_from_head_is_not_committed(story: Story) -> None:
    (story.folder / "stages" / "new.py").write_text('"""New."""\n')
    try:
        run = story.begin()
        assert run.wait() == "FAILED"
        assert (
            f"no commit on {BRANCH}: found uncommitted changes in stages/new.py; allowed: code as in HEAD"
            in run.message()
        )
    finally:
        (story.folder / "stages" / "new.py").unlink()


def test_a_night_whose_host_is_away_keeps_the_champion_and_says_so(story: Story) -> None:
    story.away.close()
    run = story.night()
    assert set(run.tasks().values()) == {"Cached"}
    assert "the champion stays" in run.message()
    assert story.champion() == "2"
