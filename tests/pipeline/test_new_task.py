"""A new task, made as docs/new-task.md says, leaves the tests of every task green."""

from __future__ import annotations

import sys

import pytest

from .conftest import Clone, commit, make_clone
from .toy import add_toy

pytestmark = pytest.mark.pipeline
# Those that look at each task there is.
TESTS = [f"tests/unit/test_{name}.py" for name in ("card", "dag", "docstrings", "drawing", "house", "params")]


def check(clone: Clone, *tests: str) -> None:
    clone.run(sys.executable, "-m", "stages.params")
    clone.run(sys.executable, "-m", "pytest", "--quiet", "-p", "no:cacheprovider", *tests)


@pytest.mark.slow
def test_the_smallest_task_passes_them(tmp_path):
    clone = make_clone(tmp_path)
    add_toy(clone)
    check(clone, *TESTS)


@pytest.mark.slow
@pytest.mark.parametrize("like", ["sketch", "drawing"])
def test_a_copied_task_passes_all_unit_tests_and_its_stages_are_planned(tmp_path, like):
    clone = make_clone(tmp_path)
    said = clone.run(sys.executable, "-m", "stages.new_task", "hand_gesture", "--like", like)
    assert "`dvc repro register@hand_gesture` runs it as it is" in said
    commit(clone)
    check(clone, "tests/unit", "--numprocesses", "2", "--dist", "loadfile")
    planned = clone.run("dvc", "repro", "--dry", "register@hand_gesture")
    assert ("preprocess@hand_gesture" in planned) == (like == "sketch")
    assert "Running stage 'train@hand_gesture'" in planned
