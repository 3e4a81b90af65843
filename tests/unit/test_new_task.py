"""A new task begins as a copy of one that is there, under its own name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from stages.new_task import copy_task
from stages.tasks.protocol import Task

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    shutil.copytree(REPOSITORY / "stages/tasks", tmp_path / "stages/tasks")
    shutil.copytree(REPOSITORY / "sources", tmp_path / "sources")
    return tmp_path


@pytest.mark.parametrize("like", Task.names())
def test_nothing_of_the_copy_names_the_stages_data_or_model_of_the_first(checkout: Path, like: str) -> None:
    copy_task("hand_gesture", like, checkout)
    description = Task(like).description()
    own = description.dataset_task == like
    parts = [file.read_text() for file in (checkout / "stages/tasks/hand_gesture").rglob("*.py")]
    assert not any(f"data/{like}/" in part or f"`{like}` block" in part for part in parts)
    head = (checkout / "stages/tasks/hand_gesture/__init__.py").read_text()
    assert f'dataset_task="{"hand_gesture" if own else description.dataset_task}"' in head
    assert f'"{description.model_name}"' not in head
    card = (checkout / "stages/tasks/hand_gesture/evaluate/card.md").read_text()
    assert f"models:/{description.model_name}@champion" not in card
    params = (checkout / "params.yaml").read_text()
    assert params.startswith((REPOSITORY / "params.yaml").read_text().rstrip())
    assert "\nhand_gesture:\n" in params
    dag = (checkout / "dvc.yaml").read_text()
    assert f"hand_gesture: {{dataset_task: {'hand_gesture' if own else description.dataset_task}, " in dag
    assert (", hand_gesture: {num_gpus: 0}}\n" in dag) == own
    assert (", hand_gesture]\n" in dag) == (like == "sketch")  # the one whose data a judge learns from
    assert (checkout / "sources/hand_gesture.json").is_file() == own


@pytest.mark.parametrize("name", ["sketch", "Gesture", "../up", "class", "", "a-b", "protocol", "null", "on"])
def test_a_name_that_is_taken_or_is_no_package_changes_nothing(checkout: Path, name: str) -> None:
    before = sorted(checkout.rglob("*"))
    with pytest.raises(ValueError, match="already exists|allowed: lower-case letters|does not read as text"):
        copy_task(name, "video", checkout)
    assert sorted(checkout.rglob("*")) == before
    assert (checkout / "dvc.yaml").read_bytes() == (REPOSITORY / "dvc.yaml").read_bytes()


@pytest.mark.parametrize(("key", "line"), [("dataset_tasks", "sketch: {num_gpus: 0}, "), ("judged_tasks", "[sketch")])
def test_a_list_of_tasks_on_several_lines_is_refused_before_anything_is_copied(
    checkout: Path, key: str, line: str
) -> None:
    dag = (checkout / "dvc.yaml").read_text()
    assert dag.count(line) == 1
    (checkout / "dvc.yaml").write_text(dag.replace(line, f"{line}\n      "))
    with pytest.raises(ValueError, match=f"dvc.yaml: vars: {key} spans several lines"):
        copy_task("hand_gesture", "sketch", checkout)
    assert not (checkout / "stages/tasks/hand_gesture").exists()
