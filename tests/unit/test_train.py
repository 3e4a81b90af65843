"""What the train stage says of a training that has ended."""

from __future__ import annotations

import math

import pytest

from stages.train import _tell_of_last_epoch
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
