"""What the train stage says of a training that has ended."""

from __future__ import annotations

import pytest

from stages.train import _tell_of_last_epoch
from stages.training.progress import TrainingHistory
from tests.unit.test_loop import PARAMS


@pytest.mark.parametrize(
    ("mode", "choose", "best_epoch", "told"),
    [
        ("full", "best", 3, True),
        ("full", "best", 2, False),
        ("full", "last", 3, False),
        ("overfit", "best", 3, False),
        ("smoke", "best", 3, False),
    ],
)
def test_a_best_epoch_that_is_the_last_is_one_line(
    mode: str, choose: str, best_epoch: int, told: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    history = TrainingHistory(epochs=(), step_records=(), monitored=(), best_epoch=best_epoch)
    params = PARAMS.model_copy(update={"mode": mode, "choose": choose, "epochs": 4})
    _tell_of_last_epoch("video", params, history)
    line = "unroll: train video: still improving in its last epoch (4): train.epochs may be too few\n"
    assert capsys.readouterr().err == (line if told else "")
