"""`make metrics`: what each task reached, as wide as a terminal."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from stages import results
from stages.data.files import write_json
from stages.tasks.protocol import Task


def test_the_metric_that_models_are_judged_by_comes_first_with_its_interval_and_best_baseline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    metrics = {"bleu": 20.0, "chrf": 45.5, "chrf_low": 44.0, "chrf_high": 47.0, "baseline_copy_chrf": 12.5}
    write_json(
        Task("translation").paths.metrics,
        {**metrics, "metric": "chrf", "bleu_signature": "v", "signature": "split:test|n:9"},
    )
    monkeypatch.setattr(sys, "argv", ["results", "translation", "video"])
    results.main()
    printed = capsys.readouterr().out
    rows = [line for line in printed.splitlines() if "│" in line]
    assert "chrf" in rows[0]
    assert "45.50 [44.00, 47.00]" in rows[0]
    assert "12.50 copy" in rows[0]
    assert "bleu" in rows[2]
    assert "chrf_low" not in printed
    assert "video: not evaluated yet; `dvc repro evaluate@video`" in printed
    assert max(map(len, printed.splitlines())) <= 100
