"""Ranks of `benchmarks.gpu`: a few steps of a task's training in processes that are joined in different ways."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.distributed as process_group

STEPS, BATCH_SIZE = 20, 64

# name → ranks, whether on the CPU, how they are joined on a GPU: "" for one process by itself
SIDES: Mapping[str, tuple[int, bool, str]] = {
    "alone": (1, False, ""),
    "one rank, NCCL": (1, False, "cpu:gloo,cuda:nccl"),
    "two ranks, one device, gloo": (2, False, "gloo"),
    "alone, on the CPU": (1, True, ""),
}


def side(name: str, task: str, folder: Path) -> dict[str, Any]:
    """One side's losses by step and its sequences a second, from the prepared data in `folder`."""
    ranks, on_cpu, backend = SIDES[name]
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if on_cpu else {}
    if backend and not torch.cuda.is_available():
        backend = "gloo"
    # Both ranks take the first GPU: `device()` goes by LOCAL_RANK.
    with tempfile.TemporaryDirectory() as work, patch.dict(os.environ, {**hidden, "LOCAL_RANK": "0"}):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        torch.multiprocessing.spawn(_rank, args=(ranks, backend, task, folder, Path(work)), nprocs=ranks)
        found: dict[str, Any] = json.loads(Path(work, "found.json").read_text(encoding="utf-8"))
    return found


def apart(sides: Mapping[str, Any]) -> dict[str, float | str]:
    """By side, how far its losses lie from those of the first at the most, relatively."""
    first = np.array(sides["alone"]["losses"])
    return {
        name: float(f"{np.abs(np.array(found['losses']) / first - 1).max():.2g}") if isinstance(found, dict) else found
        for name, found in sides.items()
        if name in SIDES
    }


def _rank(rank: int, ranks: int, backend: str, task: str, folder: Path, work: Path) -> None:
    from stages.data.prepared import open_prepared
    from stages.params import load
    from stages.tasks.protocol import Task
    from stages.training import distributed, loop
    from stages.training.debug_modes import Subset

    from .gpu_data import PARAMS_FILE

    if backend:
        process_group.init_process_group(backend, f"file://{work / 'join'}", rank=rank, world_size=ranks)
    try:
        params = load(PARAMS_FILE)[task]
        changes = {
            **{"epochs": 2, "patience": 2, "batch_size": BATCH_SIZE, "batch_tokens": 0, "threads": 1, "ranks": ranks},
            **{"schedule": "constant", "learning_rate": 1e-3, "ema_decay": 0.0, "monitor": "loss", "mode": "full"},
        }
        train_params = params.train.model_copy(update=changes)
        params = params.model_copy(update={"model": params.model.model_copy(update={"dropout": 0.0})})
        distributed.configure(seed=1, threads=1)
        model = Task(task).model()
        whole = model.dataset(folder, "train", params, augment=True)
        few = Subset(whole, np.arange(min(len(whole), STEPS * BATCH_SIZE)), augment=True)
        history = loop.fit(
            model.build(params.model, open_prepared(folder)[1]),
            few,
            Subset(whole, np.arange(1), augment=False),
            train_params,
        )
        if rank == 0:
            found = {
                "joined_by": backend or "nothing",
                "sequences_per_second": round(history.epochs[-1].sequences_per_second, 1),
                "losses": [record.loss for record in history.step_records[:STEPS]],
            }
            (work / "found.json").write_text(json.dumps(found), encoding="utf-8")
    finally:
        if backend:
            process_group.destroy_process_group()
