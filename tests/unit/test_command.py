import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.command import one_line_errors

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("verb", ["download", "preprocess", "train", "evaluate", "register", "predict"])
def test_help_answers_before_anything_heavy_is_imported(verb):
    times = []
    for _ in range(3):  # the best of three: other work on the machine is no property of ours
        started = time.perf_counter()
        command = [sys.executable, "-X", "importtime", "-m", f"stages.{verb}", "--help"]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
        times.append(time.perf_counter() - started)
        if times[-1] < 0.5:
            break
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {"torch", "mlflow", "pandas", "numpy", "pyarrow", "pydantic"}
    assert "TASK" in done.stdout
    assert min(times) < 0.5


def test_an_unknown_task_is_named_with_those_there_are():
    command = [sys.executable, "-m", "stages.train", "poetry"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "invalid choice: 'poetry'" in done.stderr
    assert "forecast" in done.stderr


def test_an_error_that_quotes_megabytes_of_a_file_is_cut() -> None:
    with pytest.raises(SystemExit) as stopped, one_line_errors("unroll"):
        raise ValueError("a.csv: found " + "x" * 1_000_000)
    assert str(stopped.value.code).startswith("unroll: a.csv: found xxx")
    assert len(str(stopped.value.code)) < 10_000
