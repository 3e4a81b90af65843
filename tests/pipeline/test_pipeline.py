"""The real pipeline on tiny params: what runs, what does not run again, what comes out."""

from __future__ import annotations

import json
import shutil

import pytest

from stages.tasks.protocol import Task

from .conftest import REPOSITORY, Clone, make_clone, ran
from .toy import add_toy

pytestmark = pytest.mark.pipeline
VERBS = ("download", "preprocess", "judge", "train", "evaluate", "register")
SHARED = REPOSITORY.parent / "shared" / "data"


def test_one_command_runs_every_stage_of_every_task(finished):
    _, stages = finished
    assert sorted(stages) == sorted(
        f"{verb}@{task}"
        for verb in VERBS
        for task in Task.names()
        if (verb not in ("download", "preprocess") or Task(task).description().dataset_task == task)
        and (verb != "judge" or task == "sketch")
    )


def test_a_second_run_does_nothing(finished):
    clone, _ = finished
    before = (clone.folder / "dvc.lock").read_bytes()
    assert clone.repro() == []
    assert (clone.folder / "dvc.lock").read_bytes() == before


def test_outputs_hold_no_time_path_or_run_id(finished):
    clone, _ = finished
    above = clone.folder.parents[2]  # the folder of all the tests' folders: the outputs were made in another of them
    for folder in ("data", "weights", "metrics", "plots", "receipts", "cards"):
        for path in (clone.folder / folder).rglob("*"):
            if path.is_file() and path.suffix in {".json", ".csv", ".ndjson", ".yaml", ".md"}:
                assert str(above) not in path.read_text(encoding="utf-8"), path


@pytest.mark.parametrize("task", Task.names())
def test_training_again_gives_the_same_bits(finished, task):
    clone, _ = finished
    weights = sorted((clone.folder / "weights" / task).glob("*/weights.safetensors"))
    assert [path.parent.name for path in weights] == ["measured", *(["served"] if task == "forecast" else [])]
    before = [path.read_bytes() for path in weights]
    assert clone.repro("--force", "--single-item", "--no-run-cache", f"train@{task}") == [f"train@{task}"]
    assert [path.read_bytes() for path in weights] == before


@pytest.mark.parametrize(
    ("block", "key", "first"),
    [
        ("source", "kind", "download"),
        ("prepare", "max_rejected_share", "preprocess"),
        ("train", "weight_decay", "train"),
    ],
)
def test_a_changed_param_runs_only_what_reads_it_and_what_follows(finished, block, key, first):
    clone, _ = finished
    params = clone.folder / "params.yaml"
    text = params.read_text(encoding="utf-8")
    start = text.index(f"  {block}:", text.index("\nforecast:" if "\nforecast:" in text else "forecast:"))
    line_start = text.index(f"    {key}:", start)
    line_end = text.index("\n", line_start)
    value = {"kind": "csv", "max_rejected_share": "0.33", "weight_decay": "0.123"}[key]
    params.write_text(f"{text[:line_start]}    {key}: {value}{text[line_end:]}", encoding="utf-8")
    try:
        planned = ran(clone.run("dvc", "repro", "--dry"))
    finally:
        params.write_text(text, encoding="utf-8")
    assert planned[0] == f"{first}@forecast"
    assert all(stage.endswith("@forecast") for stage in planned)


def test_another_classifier_changes_nothing_of_what_drawings_are_measured_by(finished):
    clone, _ = finished
    params = clone.folder / "params.yaml"
    text = params.read_text(encoding="utf-8")
    before, block, after = text.partition("\nsketch:" if "\nsketch:" in text else "sketch:")
    params.write_text(before + block + after.replace("    cell: lstm", "    cell: gru", 1), encoding="utf-8")
    try:
        planned = ran(clone.run("dvc", "repro", "--dry"))
    finally:
        params.write_text(text, encoding="utf-8")
    assert planned[0] == "train@sketch"
    assert not {"judge@sketch", "train@drawing", "evaluate@drawing", "register@drawing"} & set(planned)


# Edits files one by one, in the clone that it runs in, and prints which of them make a training stale.
STALE = """
import sys
from pathlib import Path
from flows.dag import Pipeline

for name in sys.argv[1:]:
    file = Path(name)
    text = file.read_text(encoding="utf-8")
    file.write_text(text + "# edited\\n", encoding="utf-8")
    try:
        verdicts = {decision.name: decision.verdict for decision in Pipeline().plan(("train@forecast",))}
    finally:
        file.write_text(text, encoding="utf-8")
    print(name, verdicts["train@forecast"])
"""


def test_only_an_edit_that_can_change_a_training_makes_it_stale(finished):
    clone, _ = finished
    stale = ["stages/training/loop.py", "stages/models/batch.py", "stages/tasks/forecast/model/network.py"]
    fresh = ["stages/registry/gate.py", "stages/serving/predictor.py", "stages/tracking/spool.py"]
    fresh += ["stages/fetch/web.py", "stages/evaluation/card.py", "stages/tasks/forecast/serve/predictor.py"]
    printed = dict(
        line.split() for line in clone.run("python", "-c", STALE, *stale, *fresh).splitlines() if "/" in line
    )
    # What is fetched may be other data, so a plan can only say that the training waits for it; see below.
    assert printed == {
        **dict.fromkeys(stale, "run"),
        **dict.fromkeys(fresh, "cached"),
        "stages/fetch/web.py": "wait",
    }


def test_an_edit_of_how_data_is_fetched_fetches_again_and_does_not_retrain(finished):
    clone, _ = finished
    clone.edit("stages/tasks/forecast/source/download.py", "from __future__", "# edited\nfrom __future__")
    try:
        assert clone.repro("train@forecast") == ["download@forecast"]
    finally:
        clone.edit("stages/tasks/forecast/source/download.py", "# edited\nfrom __future__", "from __future__")
        clone.repro("train@forecast")


def test_metrics_are_flat_and_signed(finished):
    clone, _ = finished
    for name in Task.names():
        metrics = json.loads((clone.folder / "metrics" / f"{name}.json").read_text(encoding="utf-8"))
        assert all(isinstance(value, (int, float, str)) for value in metrics.values())
        description = Task(name).description()
        assert description.metric in metrics
        assert any(key.startswith("baseline_") and key.endswith(description.metric) for key in metrics)
        assert {"data", "split", "n", "seed", "torch"} <= {
            part.split(":")[0] for part in metrics["signature"].split("|")
        }
    shown = clone.run("dvc", "metrics", "show")
    assert all(f"metrics/{name}.json" in shown for name in Task.names())


def test_plots_hold_curves_confusion_and_pictures(finished):
    clone, _ = finished
    clone.run("dvc", "plots", "show", "--out", "plots_page")
    page = (clone.folder / "plots_page" / "index.html").read_text(encoding="utf-8")
    for name in Task.names():
        assert f"plots/{name}/training.csv" in page or f"{name}, loss by epoch" in page
        pictures = list((clone.folder / "plots" / name / "evaluation" / "pictures").glob("*.png"))
        assert pictures
    shutil.rmtree(clone.folder / "plots_page")


def test_a_pulled_result_is_not_computed_again_and_gets_registered(finished, tmp_path):
    clone, _ = finished
    remote = tmp_path / "remote"
    clone.run("dvc", "remote", "add", "--force", "--local", "--default", "test", str(remote))
    clone.run("dvc", "push", "--quiet")
    other = Clone(tmp_path / "other")
    clone.run("git", "clone", "--quiet", str(clone.folder), str(other.folder))
    other.run("dvc", "remote", "add", "--force", "--local", "--default", "test", str(remote))
    assert ran(other.run("dvc", "repro", "--dry", "--allow-missing")) == []
    other.run("dvc", "pull", "--quiet")
    assert other.repro() == []
    table = other.run("python", "-m", "stages.registry", "sync")
    for name in Task.names():
        assert f"{Task(name).description().model_name} version 1" in table
    again = other.run("python", "-m", "stages.registry", "sync")
    assert "version 1:" not in again


def test_a_fifth_task_is_a_folder_its_params_and_one_entry(finished, tmp_path):
    clone = Clone(tmp_path / "fifth")
    finished[0].run("git", "clone", "--quiet", str(finished[0].folder), str(clone.folder))
    add_toy(clone)
    assert clone.repro("register@toy") == [f"{verb}@toy" for verb in VERBS if verb != "judge"]
    counted = json.loads((clone.folder / "metrics" / "preprocess" / "toy.json").read_text(encoding="utf-8"))
    assert counted["rejected_not_json"] == 1
    # No other stage is touched by it.
    assert ran(clone.run("dvc", "repro", "--dry", "--allow-missing")) == []


def test_an_environment_that_is_not_active_is_said_in_words(empty_clone, tmp_path):
    import os
    import subprocess
    import sys

    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    environment = {**os.environ, "PATH": f"{bare / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin"}
    command = [sys.executable, "-m", "dvc", "repro", "download@sketch"]
    done = subprocess.run(command, cwd=empty_clone.folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "source .venv/bin/activate" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_mistake_in_params_is_one_line_and_not_a_traceback(tmp_path):
    clone = make_clone(tmp_path)
    clone.edit("params.yaml", "    epochs: ", "    epochs: -")
    printed = clone.run("python", "-m", "stages.train", "video", ok=False)
    assert "train.epochs: found -" in printed
    assert "Traceback" not in printed
