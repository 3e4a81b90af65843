"""The script of docs/cluster.md that answers a table by plain Ray Data, with each of the registered models."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import mlflow.pyfunc
import pandas as pd
import pytest

from stages.tasks.protocol import Task
from tests.unit.saved_model import saved_model
from tests.unit.test_row_faults import TASKS, good, weights

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: `make cluster` installs it"),
]
DOCS = Path(__file__).resolve().parents[2] / "docs" / "cluster.md"
ADDRESS = "models:/sketch-classifier@champion"


@pytest.mark.parametrize("task", TASKS)
def test_it_gives_the_answers_of_one_process_in_their_order(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = saved_model(Task(task), weights(task, tmp_path), tmp_path, monkeypatch)
    rows = good(task, tmp_path) * (1 if task == "forecast" else 50)
    if task == "sketch":
        rows[7] = {**rows[7], "drawing": []}  # no stroke
    table = pd.DataFrame(rows)
    if task == "drawing":
        table["seed"] = range(len(table))  # each row has another answer
    table.to_parquet(tmp_path / "questions.parquet")
    (script,) = re.findall(r"```python\n(.*?map_batches.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len([line for line in script.splitlines() if line.strip()]) <= 14
    assert ADDRESS in script
    script = script.replace(ADDRESS, str(model)).replace("/shared/", f"{tmp_path}/")
    (tmp_path / "script.py").write_text(script, encoding="utf-8")
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_ADDRESS": "local"}
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = pd.concat(map(pd.read_parquet, sorted((tmp_path / "answers").glob("*.parquet"))), ignore_index=True)
    expected = mlflow.pyfunc.load_model(str(model)).predict(table, params={"on_error": "report"})
    expected.to_parquet(tmp_path / "expected.parquet")
    pd.testing.assert_frame_equal(found, pd.read_parquet(tmp_path / "expected.parquet"), check_dtype=False)
    assert len(found)
