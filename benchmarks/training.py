"""How fast training is, each number beside what it is compared with, measured in the same run.

    python -m benchmarks.training                       keras, loop, ranks and memory; 20 minutes on two cores
    python -m benchmarks.training loop ranks            some of them
    python -m benchmarks.training profile sketch video  where the time of a task's steps goes
    python -m benchmarks.training keras --quick         a few steps, to see that it runs; the numbers say nothing

    keras    a textbook's classifier in Keras against the same network trained by our engine, on real drawings
    loop     the engine against a bare PyTorch loop on the same batches
    ranks    two ranks of one thread against one rank of two threads, on the same global batches
    memory   peak memory and time to the first step on stores of 10 thousand to a million drawings
    profile  30 steps of each TASK under torch.profiler; writes profiles/TASK/trace.json

What is downloaded, prepared or installed for it lies below `--work` and is used again.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

from stages.tasks.protocol import Task

from . import command, data, trainee

PARTS = ("keras", "loop", "ranks", "memory")
PROFILE = "profile"
SAMPLES = ("sketch", "video", "translation", "forecast")
RANKED = ("sketch", "video")
STEPS = 30  # that are profiled
_MICROSECONDS = 1e6


def main() -> None:
    """The command line."""
    parser = command.parser("training", __doc__, host="quickdraw")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; or {PROFILE} and tasks")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    args = parser.parse_args()
    parts = args.parts or list(PARTS)
    tasks = parts[1:] if parts[0] == PROFILE else []
    if parts == [PROFILE]:
        parser.error(f"found no task; allowed: {', '.join(SAMPLES)}")
    command.check(parser, tasks or parts, SAMPLES if tasks else PARTS)
    command.on_cpu()
    work = args.work.resolve()
    result: dict[str, Any] = {"machine": command.machine(), "quick": args.quick}
    for part in [PROFILE] if tasks else parts:
        print(f"{part}:", flush=True)
        started = time.perf_counter()
        result[part] = run(part, tasks, work, args.data, quick=args.quick)
        result[part]["took_seconds"] = time.perf_counter() - started
        command.write(args.json, result)
    print(json.dumps(result, indent=1))


def run(part: str, tasks: list[str], work: Path, source: Path, *, quick: bool) -> dict[str, Any]:
    """One part's figures, as JSON."""
    if part == "keras":
        from . import textbook_training

        return textbook_training.run(work, source, quick=quick)
    if part == "loop":
        from . import engine_overhead

        return {task: engine_overhead.measure(Task(task), work, pairs=2 if quick else 10) for task in SAMPLES}
    if part == "ranks":
        return {task: ranks(Task(task), work, epochs=2 if quick else 7) for task in RANKED}
    if part == "memory":
        from . import store_memory

        return store_memory.run(work, quick=quick)
    return {task: profile_steps(Task(task), work) for task in tasks}


def ranks(task: Task, work: Path, *, epochs: int) -> dict[str, Any]:
    """A task's sample: sequences a second of both and the share of time that their steps wait for data, by all epochs
    but the first.
    """
    folder, params = data.sample(task, work)
    sides = {}
    with ExitStack() as stack:
        for name, ranks, threads in (("one_rank", 1, 2), ("two_ranks", 2, 1)):
            changes = {"ranks": ranks, "threads": threads, "epochs": epochs, "patience": epochs}
            own = data.overlaid(params, {"train": changes})
            side = trainee.engine(f"{task.name}, {name}", task.name, folder, own, measured="validation")
            sides[name] = stack.enter_context(side)
        trainee.in_turns(*sides.values())
    figures: dict[str, float] = {}
    for name, side in sides.items():
        for figure in ("sequences_per_second", "data_wait_share"):
            figures[f"{name}_{figure}"] = median(answer[figure] for answer in side.answers[1:])
    epochs_of_both = zip(*(side.answers[1:] for side in sides.values()), strict=True)
    ratio = median(two["sequences_per_second"] / one["sequences_per_second"] for one, two in epochs_of_both)
    return {"throughput_ratio": ratio, **figures}


def profile_steps(task: Task, work: Path) -> dict[str, Any]:
    """Where the time of an epoch of 30 steps goes, after a first one that warms up."""
    import numpy as np
    import torch
    from torch.profiler import ProfilerActivity, profile, record_function

    from stages.data.prepared import open_prepared
    from stages.training import distributed, loop
    from stages.training.debug_modes import Subset

    folder, params = data.sample(task, work)
    params = data.overlaid(params, {"train": {"epochs": 2, "patience": 2}})
    distributed.configure(seed=1, threads=params.train.threads)
    model = task.model()
    network = model.build(params.model, open_prepared(folder)[1])
    whole = model.dataset(folder, "train", params, augment=True)
    train = Subset(whole, np.arange(min(len(whole), STEPS * params.train.batch_size)), augment=True)
    validation = Subset(model.dataset(folder, "validation", params, augment=False), np.arange(1), augment=False)
    profiler = profile(activities=[ProfilerActivity.CPU])

    def on_epoch(record: loop.Epoch) -> None:
        profiler.start() if record.epoch == 0 else profiler.stop()

    forward = patch.object(network, "losses", record_function("forward")(network.losses))
    backward = patch.object(torch.Tensor, "backward", record_function("backward")(torch.Tensor.backward))
    with forward, backward:
        epoch = loop.fit(network, train, validation, params.train, on_epoch=on_epoch).epochs[1]
    path = data.REPOSITORY / "profiles" / task.name / "trace.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    profiler.export_chrome_trace(str(path))
    events = profiler.key_averages()
    totals = {event.key: event.cpu_time_total / _MICROSECONDS / epoch.seconds for event in events}
    shares = {
        "forward": totals["forward"],
        "backward": totals["backward"],
        "optimizer": sum(share for key, share in totals.items() if key.startswith("Optimizer.step")),
        "data_wait": epoch.data_wait_share,
    }
    shares["rest"] = 1.0 - sum(shares.values())
    print(f"{task.name}: {epoch.seconds:.2f} s, {path.relative_to(data.REPOSITORY)}")
    print("  " + "  ".join(f"{name} {share:.1%}" for name, share in shares.items()), flush=True)
    operators = sorted((e for e in events if "::" in e.key), key=lambda e: -e.self_cpu_time_total)[:10]
    milliseconds = {f"{e.key}, {e.count} times": 1000 * e.self_cpu_time_total / _MICROSECONDS for e in operators}
    return {"seconds": epoch.seconds, "shares": shares, "operators_milliseconds": milliseconds}


if __name__ == "__main__":
    main()
