"""Two ranks of one thread against one rank of two threads, on the same global batches, an epoch in turn."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from stages.tasks.protocol import Task

from . import data
from .specification import Specification
from .turns import Trainee, engine_command, in_turns

EPOCHS = 7  # the first does not count


def run(work: Path, *, tasks: Sequence[str], quick: bool) -> dict[str, Any]:
    """For each task, the sequences a second of both and the share of time that their steps wait for data."""
    return {task: measured(Task(task), work, epochs=2 if quick else EPOCHS) for task in tasks}


def measured(task: Task, work: Path, *, epochs: int) -> dict[str, Any]:
    """One task's sample."""
    folder, params = data.sample(task, work)
    with ExitStack() as stack:
        trainees = []
        for ranks, threads in ((1, 2), (2, 1)):
            changes = {"ranks": ranks, "threads": threads, "epochs": epochs, "patience": epochs}
            changed = params.model_copy(update={"train": params.train.model_copy(update=changes)})
            name = f"{task.name}, {ranks} × {threads}"
            path = work / "specifications" / f"{task.name}-{ranks}-ranks.json"
            Specification.of(task.name, folder, changed, measured="validation").write(path)
            trainees.append(stack.enter_context(Trainee(name, engine_command(path, ranks), epochs=epochs)))
        in_turns(trainees)
    one, two = (trainee.answers[1:] for trainee in trainees)
    return {
        "throughput_ratio": median(
            b["sequences_per_second"] / a["sequences_per_second"] for a, b in zip(one, two, strict=True)
        ),
        "one_rank_sequences_per_second": median(answer["sequences_per_second"] for answer in one),
        "two_ranks_sequences_per_second": median(answer["sequences_per_second"] for answer in two),
        "one_rank_data_wait_share": median(answer["data_wait_share"] for answer in one),
        "two_ranks_data_wait_share": median(answer["data_wait_share"] for answer in two),
    }
