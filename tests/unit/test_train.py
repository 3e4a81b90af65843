"""What the train stage says of a training that has ended."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from stages.train import _tell_of_emulation, _tell_of_last_epoch
from stages.training.progress import TrainingHistory
from tests.unit.test_loop import PARAMS


@pytest.mark.parametrize(
    ("mode", "choose", "monitored", "told"),
    [
        ("full", "best", (3.0, 1.0, 2.0, 0.5), True),
        ("full", "best", (3.0, 1.0, 0.5, 2.0), False),
        ("full", "best", (3.0, 1.0, 0.5, 0.5), False),
        ("full", "best", (3.0, 1.0, 0.5, math.nan), False),
        ("full", "best", (math.nan, 1.0, 2.0, 0.5), True),
        ("full", "last", (3.0, 1.0, 2.0, 0.5), False),
        ("overfit", "best", (3.0, 1.0, 2.0, 0.5), False),
        ("smoke", "best", (3.0,), False),
    ],
)
def test_a_last_epoch_that_is_better_than_all_before_is_one_line(
    mode: str, choose: str, monitored: tuple[float, ...], told: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    history = TrainingHistory(epochs=(), step_records=(), monitored=monitored, best_epoch=3)
    params = PARAMS.model_copy(update={"mode": mode, "choose": choose, "epochs": 4})
    _tell_of_last_epoch("video", params, history)
    line = "unroll: train video: still improving in its last epoch (4): train.epochs may be too few\n"
    assert capsys.readouterr().err == (line if told else "")


@pytest.mark.parametrize(
    ("precision", "processor", "told"),
    [
        ("bfloat16", {"architecture": "x86_64", "avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, True),
        ("bfloat16", {"architecture": "x86_64", "avx512_bf16": True, "amx_bf16": False}, False),
        ("bfloat16", {"architecture": "x86_64", "avx512_bf16": False, "amx_bf16": True}, False),
        ("float16", {"architecture": "x86_64", "avx512_bf16": True}, True),
        ("float32", {"architecture": "x86_64"}, False),
        ("bfloat16", {"architecture": "aarch64"}, False),
    ],
)
def test_a_precision_without_instructions_is_one_line(
    precision: str,
    processor: dict[str, Any],
    told: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: processor)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    _tell_of_emulation("video", precision)
    slow = f"this processor has no instructions for {precision}, so float32 is faster"
    assert capsys.readouterr().err == (f"unroll: train video: {slow} (video.train.precision)\n" if told else "")
