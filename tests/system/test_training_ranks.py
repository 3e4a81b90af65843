"""Three ranks on one machine: what they add up, and what one of them tells the others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stages.training import launch
from stages.training.distributed import StageError
from tests.system import training_ranks


@pytest.mark.parametrize("check", [check.__name__ for check in training_ranks.CHECKS])
def test_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: str) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    monkeypatch.delenv("UNROLL_STEPS_BETWEEN_WAITS", raising=False)
    torch.multiprocessing.spawn(training_ranks.run, args=(tmp_path, check), nprocs=training_ranks.RANKS)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_fault_of_one_rank_alone_ends_all_of_them_with_its_message(
    capfd: pytest.CaptureFixture[str], rank: int
) -> None:
    with pytest.raises(StageError, match=r"No such file: 'data/prepared/sketch'$"):
        launch.run("train", "sketch", training_ranks.RANKS, training_ranks.without_a_file, rank)
    assert "Traceback" not in capfd.readouterr().err  # no rank was started again
