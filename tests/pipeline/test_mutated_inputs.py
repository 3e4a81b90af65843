"""Damaged inputs of every format: prepared with all counted, or refused in one line; see `mutation/`."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from stages.paths import search_path
from tests.pipeline.conftest import REPOSITORY
from tests.pipeline.mutation.formats import NAMES

COUNT = os.environ.get("UNROLL_MUTATIONS", "50")  # of each format
SEED = os.environ.get("UNROLL_MUTATIONS_SEED", "20")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_input_is_prepared_or_refused_in_one_line(name: str) -> None:
    command = [sys.executable, "-m", "tests.pipeline.mutation", name, SEED, COUNT]
    environment = {**os.environ, "PYTHONPATH": search_path()}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    print(done.stdout)  # the counts: `pytest -rP` shows them
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
