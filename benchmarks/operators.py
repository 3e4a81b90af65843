"""Where the time of a task's training goes: 30 steps under torch.profiler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile, record_function

from stages.data.prepared import open_prepared
from stages.tasks.protocol import Task
from stages.training import distributed, loop
from stages.training.debug_modes import Subset
from stages.training.progress import Epoch

from . import data

STEPS = 30
_MILLISECOND = 1000.0  # in the profiler's microseconds


def run(work: Path, *, tasks: list[str]) -> dict[str, Any]:
    """Profile each task's sample; traces go to profiles/TASK/trace.json."""
    return {task: profiled(Task(task), work) for task in tasks}


def profiled(task: Task, work: Path) -> dict[str, Any]:
    """An epoch of 30 steps, after a first one that warms up."""
    folder, params = data.sample(task, work)
    train_params = params.train.model_copy(update={"epochs": 2, "patience": 2})
    distributed.configure(seed=1, threads=params.train.threads)
    model = task.model()
    network = model.build(params.model, open_prepared(folder)[1])
    whole = model.dataset(folder, "train", params, augment=True)
    train = Subset(whole, np.arange(min(len(whole), STEPS * train_params.batch_size)), augment=True)
    validation = Subset(model.dataset(folder, "validation", params, augment=False), np.arange(1), augment=False)
    profiler = profile(activities=[ProfilerActivity.CPU])
    records: list[Epoch] = []

    def on_epoch(record: Epoch) -> None:
        records.append(record)
        profiler.start() if record.epoch == 0 else profiler.stop()

    with _named("forward", network, "losses"), _named("backward", torch.Tensor, "backward"):
        loop.fit(network, train, validation, train_params, on_epoch=on_epoch)
    path = data.REPOSITORY / "profiles" / task.name / "trace.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    profiler.export_chrome_trace(str(path))
    averages = profiler.key_averages()
    seconds = records[1].seconds
    totals = {event.key: event.cpu_time_total / 1e6 for event in averages}
    shares = {
        "forward": totals["forward"] / seconds,
        "backward": totals["backward"] / seconds,
        "optimizer": sum(total for key, total in totals.items() if key.startswith("Optimizer.step")) / seconds,
        "data_wait": records[1].data_wait_share,
    }
    shares["rest"] = 1.0 - sum(shares.values())
    operators = sorted((e for e in averages if "::" in e.key), key=lambda e: -e.self_cpu_time_total)[:10]
    print(f"{task.name}: {seconds:.2f} s, {path.relative_to(data.REPOSITORY)}")
    print("  " + "  ".join(f"{name} {share:.1%}" for name, share in shares.items()))
    for event in operators:
        print(f"  {event.self_cpu_time_total / _MILLISECOND:9.1f} ms  {event.count:6d} ×  {event.key}", flush=True)
    return {
        "seconds": seconds,
        "shares": shares,
        "operators": {e.key: e.self_cpu_time_total / _MILLISECOND for e in operators},
    }


@contextmanager
def _named(name: str, owner: Any, method: str) -> Iterator[None]:
    """Calls of a method stand in the profile under a name, inside the block."""
    original: Callable[..., Any] = getattr(owner, method)

    @wraps(original)
    def named(*arguments: Any, **options: Any) -> Any:
        with record_function(name):
            return original(*arguments, **options)

    setattr(owner, method, named)
    try:
        yield
    finally:
        setattr(owner, method, original)
