"""The plan against what `dvc repro` then does, in a small pipeline."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.dag import Pipeline, PipelineError, PlannedStage, Resources
from flows.plan import in_few_words, show, stages_of
from flows.reports.tables import plan_table
from stages.sources.fetched import Fetched
from stages.sources.pins import Content, Pin, PinnedFile
from stages.tasks.protocol import Task

DVC_YAML = """
stages:
  first:
    foreach: {a: {}, b: {}}
    do:
      cmd: cp source.txt first-${key}.txt
      params:
        - ${key}
      deps:
        - source.txt
      outs:
        - first-${key}.txt
      meta: {gpus: 1, retries: 2, timeout: 60}
  second:
    cmd: cat first-a.txt first-b.txt > second.txt
    deps: [first-a.txt, first-b.txt]
    outs: [second.txt]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    from dvc.repo import Repo

    monkeypatch.setenv("DVC_NO_ANALYTICS", "true")
    before = Path.cwd()
    os.chdir(tmp_path)
    Path("dvc.yaml").write_text(DVC_YAML)
    Path("params.yaml").write_text("a: {rate: 1, name: x}\nb: {rate: 1}\n")
    Path("source.txt").write_text("one\n")
    Repo.init(no_scm=True).close()
    yield tmp_path
    os.chdir(before)


def repro(folder: Path) -> list[str]:
    from dvc.repo import Repo

    with Repo(str(folder)) as repo:
        return [stage.name for stage in repo.reproduce()]


def planned(folder: Path, **options: object) -> dict[str, PlannedStage]:
    return {stage.name: stage for stage in Pipeline(folder).plan(**options)}  # type: ignore[arg-type]


def test_stages_come_in_order_with_what_they_wait_for(folder: Path) -> None:
    pipeline = Pipeline(folder)
    assert sorted(pipeline) == ["first@a", "first@b", "second"]
    assert list(pipeline)[-1] == "second"
    assert pipeline.upstream("second") == ("first@a", "first@b")
    assert pipeline.resources("first@a") == Resources(gpus=1, retries=2, timeout=60)
    assert pipeline.resources("second") == Resources()
    assert pipeline.needed(["first@b"]) == ("first@b",)


def test_a_stage_has_as_many_ranks_as_its_own_block_says(folder: Path) -> None:
    (folder / "dvc.yaml").write_text(DVC_YAML.replace("- ${key}\n", "- ${key}.first\n        - ${key}.other\n", 1))
    (folder / "params.yaml").write_text(
        "a: {first: {ranks: 2}, other: {ranks: 4}}\nb: {first: {}, other: {ranks: 4}}\n"
    )
    pipeline = Pipeline(folder)
    assert [pipeline.ranks(name) for name in ("first@a", "first@b", "second")] == [2, 1, 1]


def test_a_stage_that_never_ran_runs_and_one_that_has_does_not(folder: Path) -> None:
    before = planned(folder)
    assert before["first@a"].verdict == "run"
    assert before["first@a"].reasons == ("has never run: it is not in dvc.lock",)
    assert before["second"].verdict == "run"
    repro(folder)
    assert {d.verdict for d in planned(folder).values()} == {"cached"}
    assert repro(folder) == []


def test_a_changed_param_is_named_with_both_values(folder: Path) -> None:
    repro(folder)
    (folder / "params.yaml").write_text("a: {rate: 2, shape: y}\nb: {rate: 1}\n")
    after = planned(folder)
    assert after["first@a"].verdict == "run"
    assert after["first@a"].reasons == ("a.rate: 1 → 2", "a.shape: nothing → y", "a.name: x → nothing")
    assert after["first@b"].verdict == "cached"
    assert after["second"] == PlannedStage(name="second", verdict="wait", reasons=("after first@a",))
    # What waits runs only if what it reads has changed: here the file is the same.
    assert repro(folder) == ["first@a"]


def test_a_changed_file_and_a_missing_output_are_named(folder: Path) -> None:
    repro(folder)
    (folder / "second.txt").unlink()
    assert planned(folder)["second"] == PlannedStage(
        name="second", verdict="restore", reasons=("output second.txt: missing",)
    )
    (folder / "source.txt").write_text("two\n")
    assert planned(folder)["first@b"].reasons == ("source.txt: modified",)
    assert planned(folder)["first@b"].verdict == "run"


def test_a_pin_that_moved_says_what_of_the_source_has_changed(folder: Path) -> None:
    def pin(*lines: int, source: str = "abc") -> str:
        contents = [Content(bytes=3 * n, sha256=f"{n:064x}", md5=f"{n:032x}", lines=n) for n in lines]
        files = {f"{i}.csv": PinnedFile(url=f"https://host/{i}.csv", content=c) for i, c in enumerate(contents)}
        return Pin(source=source.zfill(64), files=files).text()

    path = folder / "sources" / "a.json"
    path.parent.mkdir()
    path.write_text(pin(10, 20, 30))
    text = DVC_YAML.replace(
        "        - source.txt\n      outs", "        - source.txt\n        - sources/a.json\n      outs"
    )
    (folder / "dvc.yaml").write_text(text)
    repro(folder)
    Fetched(folder).keep_pin(path.read_text())
    path.write_text(pin(10, 102, 40))
    assert planned(folder)["first@a"].reasons == ("source: 2 of 3 files changed, 92 lines more",)
    shutil.rmtree(folder / ".fetched")
    assert planned(folder)["first@a"].reasons == ("source: new pin, 3 files",)
    for before, said in (((), "pinned for the first time"), ((10,), "another source")):
        path.write_text(pin(*before, source="def"))
        repro(folder)
        Fetched(folder).keep_pin(path.read_text())
        path.write_text(pin(10, 20))
        assert planned(folder)["first@a"].reasons == (f"source: {said}, 2 files",)
    path.write_text('{"source": "abc", "files": {}}')
    with pytest.raises(PipelineError, match='sources/a.json: not a pin .*: source: found "abc"; allowed: 64'):
        planned(folder)


def test_what_dvc_has_done_before_is_restored_and_asking_changes_nothing(folder: Path) -> None:
    repro(folder)
    (folder / "source.txt").write_text("two\n")
    repro(folder)
    (folder / "source.txt").write_text("one\n")
    pipeline = Pipeline(folder)
    assert [pipeline.decide(name).verdict for name in ("first@a", "first@b")] == ["restore", "restore"]
    assert pipeline.decide("first@a") == pipeline.decide("first@a")


def test_force_and_targets(folder: Path) -> None:
    repro(folder)
    plan = planned(folder, targets=["first@a"], force=True)
    assert list(plan) == ["first@a"]
    assert plan["first@a"].verdict == "run"
    assert plan["first@a"].reasons == ("requested with force",)


def test_mistakes_are_one_line(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(PipelineError, match="third: no such stage; allowed: first@a, first@b, second"):
        Pipeline(folder).plan(["third"])
    (folder / "dvc.yaml").write_text(DVC_YAML.replace("retries: 2", "tries: 2"))
    with pytest.raises(PipelineError, match=r"first@a: meta: found tries; allowed: gpus, num_gpus, retries, timeout"):
        Pipeline(folder).resources("first@a")
    with pytest.raises(PipelineError, match="not inside of a DVC repository"):
        Pipeline(tmp_path_factory.mktemp("elsewhere"))


def test_the_plan_as_markdown_keeps_to_a_few_reasons() -> None:
    reasons = tuple(f"file {i}: modified" for i in range(6))
    stage = PlannedStage(name="train@sketch", verdict="run", reasons=reasons, pool="gpu")
    assert plan_table([stage]).splitlines()[2] == (
        "| `train@sketch` | runs | pool gpu "
        "| file 0: modified; file 1: modified; file 2: modified; file 3: modified; and 2 more |"
    )


def test_a_plan_takes_tasks_as_a_run_does() -> None:
    assert stages_of([]) is None
    assert stages_of(["forecast", "video"], "train") == ["train@forecast", "train@video"]
    assert stages_of(["drawing"], "download") == ["download@sketch"]
    assert stages_of(["evaluate@sketch", "forecast"]) == ["evaluate@sketch", "register@forecast"]
    assert stages_of([], "train") == [f"train@{name}" for name in Task.names()]
    with pytest.raises(PipelineError, match=r"found poetry; allowed: a task \(drawing.* or a stage, such as train@"):
        stages_of(["poetry"])


def test_what_is_up_to_date_stands_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    cached = ["download@sketch", "download@video", "preprocess@sketch", "download@forecast", "preprocess@forecast"]
    plan = [PlannedStage(name=name, verdict="cached") for name in cached]
    assert in_few_words(cached) == "download, preprocess of sketch, forecast; download of video"
    show(plan)
    assert capsys.readouterr().out == f"5 unchanged: {in_few_words(cached)}\n"
    show([*plan, PlannedStage(name="preprocess@video", verdict="run", reasons=("video.prepare.size: 1 → 2",))])
    shown = capsys.readouterr().out
    assert "video.prepare.size: 1 → 2" in shown
    assert "preprocess@sketch" not in shown
    assert shown.splitlines()[-2:] == ["1 runs", f"5 unchanged: {in_few_words(cached)}"]
    show([PlannedStage(name="preprocess@video", verdict="run", reasons=("video.prepare.size: 1 → 2",))])
    assert "unchanged" not in capsys.readouterr().out
