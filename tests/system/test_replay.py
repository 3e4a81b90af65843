"""A replay of a year with a tiny network, killed on its way."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

from stages.paths import search_path
from stages.recipe import lay_over

REPOSITORY = Path(__file__).resolve().parents[2]
TINY = {
    "forecast": {
        "prepare": {"validation_days": 60, "test_days": 90},
        "model": {"members": 1, "hidden_size": 4},
        "train": {"epochs": 1, "threads": 1},
        "evaluate": {"origins": 12, "baselines": ["seasonal_naive", "autoets"]},
        "register": {"must_beat": ["seasonal_naive", "autoets"]},
    }
}
OPTIONS = ("--from", "2014-01-01", "--to", "2014-12-31", "--every", "28d", "--parallel", "2")
SECONDS = 600  # on a busy machine


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with params.yaml and the raw sample, and no checkout."""
    (tmp_path / "params.yaml").write_bytes((REPOSITORY / "params.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNROLL_RESUME", str(tmp_path / "resume"))
    monkeypatch.setenv("PYTHONPATH", search_path())
    lay_over(TINY, Path("params.yaml"), source="tiny")
    subprocess.run([sys.executable, "-m", "stages.download", "forecast"], check=True)
    return tmp_path


def start(*options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "flows.replay", "forecast", *OPTIONS, *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def kept(folder: Path) -> dict[str, int]:
    """The trainings that are kept, and when they were written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("resume/replay/*/training.json")}


@pytest.mark.slow
def test_a_year_of_two_policies_goes_on_where_it_was_killed(folder: Path) -> None:
    replay = start("--retrain", "never,quarterly")
    assert replay.communicate(timeout=SECONDS)[0].startswith("unroll: replay: --retrain: found 'quarterly'; allowed:")
    replay = start("--retrain", "yearly,on_alarm")
    deadline = time.monotonic() + SECONDS
    while not psutil.Process(replay.pid).children() or not list(folder.glob("resume/replay/.*/train.log")):
        assert replay.poll() is None, replay.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    trainings = psutil.Process(replay.pid).children()
    replay.kill()
    replay.communicate()
    assert not psutil.wait_procs(trainings, timeout=30)[1], "a training went on without its replay"
    assert not (folder / "replay").exists()

    replay = start("--retrain", "yearly,on_alarm")
    said, _ = replay.communicate(timeout=SECONDS)
    assert replay.returncode == 0, said
    written = {path.name: path.read_bytes() for path in (folder / "replay" / "forecast").iterdir()}
    assert set(written) == {"forecasts.csv", "decisions.csv", "replay.json", "replay.png", "report.md"}
    trainings_before = kept(folder)

    replay = start("--retrain", "yearly,on_alarm")
    said_again, _ = replay.communicate(timeout=SECONDS)
    assert kept(folder) == trainings_before  # nothing is trained twice
    again = {path.name: path.read_bytes() for path in (folder / "replay" / "forecast").iterdir()}
    assert {name: again[name] == written[name] for name in written} == dict.fromkeys(written, True)
    assert said_again == said
    check(folder / "replay" / "forecast")
    assert not (folder / "mlflow.db").exists()


def check(results: Path) -> None:
    forecasts = pd.read_csv(results / "forecasts.csv", parse_dates=["day", "trained", "ds"])
    decisions = pd.read_csv(results / "decisions.csv", parse_dates=["day", "champion"], keep_default_na=False)
    of_models = forecasts.dropna(subset="trained")
    assert (of_models["trained"] <= of_models["day"]).all()
    assert ((forecasts["ds"] - forecasts["day"]).dt.days.between(1, 7)).all()
    assert len(forecasts) == 3 * 14 * 7  # two policies and the baseline, the 14 days of decision of a year
    trained = decisions[decisions["reason"] != ""]
    assert trained[trained["policy"] == "yearly"]["day"].dt.strftime("%Y-%m-%d").tolist() == ["2014-01-01"]
    assert (trained["verdict"] != "").all()
    summary = json.loads((results / "replay.json").read_text())
    by_policy = {row["policy"]: row for row in summary["policies"]}
    assert by_policy["yearly"]["trainings"] == 1
    assert by_policy["yearly"]["hours"] > 0
    mae = forecasts.assign(error=(forecasts["y"] - forecasts["mean"]).abs()).groupby("policy")["error"].mean()
    assert by_policy["seasonal_naive"]["mae"] == pytest.approx(mae["seasonal_naive"])
    assert by_policy["on_alarm"]["mae"] == pytest.approx(mae["on_alarm"])
