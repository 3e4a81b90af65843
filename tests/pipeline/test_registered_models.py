"""Registered models answer in a process that has never seen this repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.pipeline

# Runs in an empty folder, with the environment's packages and nothing of the checkout on its path.
ANSWER = """
import json, sys
import mlflow, pandas as pd

mlflow.set_tracking_uri(sys.argv[1])
frame = pd.read_json(sys.argv[3], orient="records", convert_dates=["ds"], dtype=False)
model = mlflow.pyfunc.load_model(f"models:/{sys.argv[2]}@{sys.argv[4]}")
answer = model.predict(frame, params=json.loads(sys.argv[5]))
assert not any(name == "stages" or name.startswith("stages.") for name in sys.modules), "reached into a checkout"
print(answer.to_json(orient="records", date_format="iso"))
"""

SQUARE = [[[0, 255, 255, 0, 0], [0, 0, 255, 255, 0]]]


def ask(clone, tmp_path: Path, model: str, rows: list[dict], *, alias: str = "challenger", **params) -> list[dict]:
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    environment = {**os.environ, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    environment.pop("PYTHONPATH", None)
    store = f"sqlite:///{clone.folder / 'mlflow.db'}"
    command = [sys.executable, "-c", ANSWER, store, model, str(tmp_path / "rows.json"), alias, json.dumps(params)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_sketches_are_answered_as_lists_and_as_text(finished, tmp_path):
    clone, _ = finished
    raw_form = [[*SQUARE[0], [0, 10, 20, 30, 40]]]
    rows = [{"drawing": SQUARE}, {"drawing": json.dumps(SQUARE)}, {"drawing": raw_form}, {"drawing": "[]"}]
    answers = ask(clone, tmp_path, "sketch-classifier", rows, on_error="report")
    assert list(answers[0]) == ["label", "probability", "top5_labels", "top5_probabilities", "error"]
    assert len(answers[0]["top5_labels"]) == 5
    assert answers[0]["label"] == answers[0]["top5_labels"][0] == answers[1]["label"]
    assert answers[0]["probability"] == pytest.approx(answers[1]["probability"])
    assert answers[3]["label"] is None
    assert answers[3]["error"]


def test_clips_are_answered_by_path(finished, tmp_path):
    clone, _ = finished
    clip = sorted((clone.folder / "data" / "video" / "raw").rglob("*.mp4"))[0]
    answers = ask(
        clone, tmp_path, "video-classifier", [{"path": str(clip)}, {"path": "/no/such.mp4"}], on_error="report"
    )
    assert 0 < answers[0]["probability"] <= 1
    assert answers[0]["top5_probabilities"] == sorted(answers[0]["top5_probabilities"], reverse=True)
    assert "/no/such.mp4" in answers[1]["error"]


def test_texts_are_answered_with_a_score(finished, tmp_path):
    clone, _ = finished
    rows = [{"text": "<en_US> March 5, 1999"}]
    (answer,) = ask(clone, tmp_path, "translator", rows, beam_size=2, max_length=12)
    assert list(answer) == ["translation", "score"]
    assert len(answer["translation"]) <= 12


def test_series_are_answered_with_the_seven_days_after_their_own_last(finished, tmp_path):
    clone, _ = finished
    days = [f"2024-0{1 + d // 28}-{1 + d % 28:02d}" for d in range(28)]
    rows = [{"unique_id": u, "ds": day, "y": 10.0 + n % 7} for u in ("b", "a") for n, day in enumerate(days)]
    answers = ask(clone, tmp_path, "forecaster", rows)
    assert len(answers) == 14
    first = [answer for answer in answers if answer["unique_id"] == "a"]
    assert [answer["ds"][:10] for answer in first][0] == "2024-01-29"
    assert [answer["ds"][:10] for answer in first][-1] == "2024-02-04"
    assert all(answer["q05"] <= answer["q50"] <= answer["q95"] for answer in answers)
