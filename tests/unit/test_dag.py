"""dvc.yaml against the code: a stage must name what decides its result, all of it and nothing else."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.provenance.imports import deciding
from stages.sources.pins import path_of
from stages.tasks.protocol import Task

REPOSITORY = Path(__file__).resolve().parents[2]
DAG = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text(encoding="utf-8"))

PARTS = {
    "download": ["source.download"],
    "preprocess": ["prepare.prepare", "prepare.profile"],
    "judge": ["model.network", "model.judge"],
    "train": ["model.network"],
    "evaluate": ["model.network", "evaluate.evaluate"],
    "register": ["serve.predictor", "evaluate.comparison"],
}
FURTHER = {"register": ["stages.serving.pyfunc"]}  # named to MLflow, not imported


TASKS = next(entry["tasks"] for entry in DAG["vars"] if "tasks" in entry)
STORES = next(entry["dataset_tasks"] for entry in DAG["vars"] if "dataset_tasks" in entry)
JUDGED = next(entry["judged_tasks"] for entry in DAG["vars"] if "judged_tasks" in entry)
ITEMS = {"download": STORES, "preprocess": STORES, "judge": JUDGED}
STAGES = [(verb, task) for verb in PARTS for task in ITEMS.get(verb, TASKS)]


def filled(text: str, task: str) -> str:
    """A line of dvc.yaml for one task. Stages over `judged_tasks`, which is a list, have the task as `item`."""
    return (
        text.replace("${key}", task)
        .replace("${item}", task)
        .replace("${item.dataset_task}", TASKS[task]["dataset_task"])
        .replace("${item.judge}", TASKS[task]["judge"])
    )


def deps(verb: str, task: str) -> list[str]:
    return [filled(dep, task) for dep in DAG["stages"][verb]["do"]["deps"]]


def imported(verb: str, task: str) -> set[str]:
    modules = [f"stages.{verb}", *FURTHER.get(verb, [])] + [f"stages.tasks.{task}.{part}" for part in PARTS[verb]]
    return {path.as_posix() for module in modules for path in deciding(module)}


def covers(dep: str, file: str) -> bool:
    return file == dep or file.startswith(f"{dep}/")


@pytest.mark.parametrize(("verb", "task"), STAGES)
def test_a_stage_names_all_the_code_it_runs(verb, task):
    unnamed = {file for file in imported(verb, task) if not any(covers(dep, file) for dep in deps(verb, task))}
    assert not unnamed


@pytest.mark.parametrize("verb", PARTS)
def test_a_stage_names_no_code_that_no_task_runs(verb):
    tasks = [task for stage, task in STAGES if stage == verb]
    idle = {
        dep
        for dep in DAG["stages"][verb]["do"]["deps"]
        if dep.startswith("stages/")
        and not dep.endswith("manifest.yaml")
        and not any(covers(filled(dep, task), file) for task in tasks for file in imported(verb, task))
    }
    assert not idle


def test_code_is_named_by_folders_and_few_of_them():
    verbs = [verb for verb in PARTS if verb != "judge"]
    assert sum(dep.startswith("stages/") for verb in verbs for dep in DAG["stages"][verb]["do"]["deps"]) <= 47
    code = [dep for verb in PARTS for dep in DAG["stages"][verb]["do"]["deps"] if dep.startswith("stages/")]
    files = {dep for dep in code if Path(dep).suffix}
    assert files == {
        *(f"stages/{verb}.py" for verb in PARTS),
        "stages/metrics.py",
        "stages/tasks/${key}/manifest.yaml",
    }


@pytest.mark.parametrize("task", Task.names())
def test_stages_and_code_agree_on_where_outputs_lie(task):
    def outs(verb: str) -> list[str]:
        stage: dict[str, Any] = DAG["stages"][verb]["do"]
        entries = [e for kind in ("outs", "metrics", "plots") for e in stage.get(kind, [])]
        return sorted(filled(next(iter(e)) if isinstance(e, dict) else e, task) for e in entries)

    paths = Task(task).paths
    if task in STORES:
        assert outs("download") == [paths.raw.as_posix()]
        assert outs("preprocess") == sorted(
            [paths.prepared.as_posix(), paths.preparation_metrics.as_posix(), paths.profile.as_posix()]
        )
        assert [verb for verb in PARTS if paths.profile.as_posix() in deps(verb, task)] == ["register"]
    read = [paths.raw.as_posix(), paths.prepared.as_posix(), paths.preparation_metrics.as_posix()]
    assert set(read) <= {*deps("train", task), *deps("evaluate", task), *deps("register", task)}
    curves = [paths.learning_curve.as_posix(), paths.steps.as_posix()]
    assert outs("train") == sorted([paths.weights.as_posix(), *curves])
    written = ("calibration.csv", "pictures", "predictions.csv", "slices.csv")
    evaluation = [(paths.evaluation / name).as_posix() for name in written]
    assert outs("evaluate") == sorted([*evaluation, paths.metrics.as_posix(), paths.card.as_posix()])
    assert outs("register") == [paths.receipt.as_posix()]


@pytest.mark.parametrize("task", STORES)
def test_a_download_waits_for_its_pin(task):
    assert path_of(task).as_posix() in deps("download", task)
    assert (REPOSITORY / path_of(task)).is_file()


def test_every_task_has_its_entry():
    assert tuple(sorted(TASKS)) == Task.names()
    assert {task: entry["dataset_task"] for task, entry in TASKS.items()} == {
        task: Task(task).description().dataset_task for task in TASKS
    }
    assert sorted(STORES) == sorted({entry["dataset_task"] for entry in TASKS.values()})


def test_every_output_is_cached_and_may_come_from_another_machine():
    for verb, stage in DAG["stages"].items():
        text = yaml.safe_dump(stage)
        assert "cache: false" not in text, verb
        assert "persist" not in text, verb
        assert stage["do"]["deps"], verb


def test_stages_of_a_verb_read_only_their_own_blocks():
    blocks = {verb: [p.rpartition(".")[2] for p in stage["do"]["params"]] for verb, stage in DAG["stages"].items()}
    assert blocks == {
        "download": ["source"],
        "preprocess": ["prepare"],
        "judge": ["judge"],
        "train": ["model", "train"],
        "evaluate": ["evaluate", "model", "prepare", "source", "train"],  # the card names them all
        "register": ["register"],
    }
