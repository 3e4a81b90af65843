"""A training that is killed again and again; run in a checkout whose data is prepared.

    python -m tests.system.killed_often TASK SEED CHAINS

Each chain is one training with settings drawn from SEED, killed until it comes to its end: before or after a step,
before or after a file gets its name, in the middle of a file; between two starts its newest state may lose a bit or its
end. All that `train` leaves must have the bytes of a training that nothing disturbed, and nothing half-written a final
name. Prints a line for each chain; the status is 1 where anything differs.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.params import TaskParams, load
from stages.tasks.protocol import Task
from stages.tracking import training_run
from stages.train import train
from stages.training import step

SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"schedule": "plateau", "plateau_patience": 1},
    {"schedule": "constant", "ema_decay": 0.9},
    {"accumulation_steps": 2, "max_grad_norm": 0.1},
    {"batch_tokens": 300},
    {"precision": "bfloat16"},
    {"patience": 1, "learning_rate": 1e-4},
)
LONGEST = 25  # kills in a chain


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed_at(owner: Any, name: str, call: int, *, after: bool) -> None:
    """Kill this process before or after the `call`th call of a function, counted from 1."""
    function, calls = getattr(owner, name), 0

    def counted(*args: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and not after:
            die()
        result = function(*args, **named)
        if calls == call:
            die()
        return result

    setattr(owner, name, counted)


def killed_in_a_file(call: int) -> None:
    """Kill this process when half of the `call`th text is in its file."""
    write, calls = Path.write_text, 0

    def half(path: Path, text: str, *args: Any, **named: Any) -> int:
        nonlocal calls
        calls += 1
        written = write(path, text[: len(text) // 2] if calls == call else text, *args, **named)
        if calls == call:
            die()
        return written

    setattr(Path, "write_text", half)  # noqa: B010


@contextmanager
def no_tracking(*args: Any, **named: Any) -> Iterator[Any]:
    class Run:
        def epoch(self, record: object) -> None: ...
        def metrics(self, values: object, step: int) -> None: ...

    yield Run()


def attempt(task: Task, params: TaskParams, prepare: Callable[[], None] = lambda: None) -> bool:
    """Train in a process of its own; whether it came to its end. Raises RuntimeError where it failed otherwise."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
            prepare()
            train(task, params)
            status = 0
        finally:
            os._exit(status)
    _, ended = os.waitpid(pid, 0)
    if os.waitstatus_to_exitcode(ended) not in (0, -signal.SIGKILL):
        raise RuntimeError(f"train {task.name} ended with {os.waitstatus_to_exitcode(ended)}")
    return ended == 0


def outputs(task: Task) -> dict[str, bytes]:
    """All files that a training leaves, under whatever name."""
    folders = task.paths.weights.parent, task.paths.learning_curve.parent
    files = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    return {path.as_posix(): path.read_bytes() for path in files}


def clear(task: Task) -> None:
    for folder in (task.paths.weights.parent, task.paths.learning_curve.parent, task.paths.resume("")):
        shutil.rmtree(folder, ignore_errors=True)


def damage(task: Task, draw: random.Random) -> None:
    """Take a bit, or the end, from the newest state."""
    for path in task.paths.resume("").glob("*/checkpoint.safetensors"):
        content = bytearray(path.read_bytes())
        if draw.random() < 0.5:
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        else:
            del content[draw.randrange(len(content)) :]
        path.write_bytes(content)


def chain(task: Task, params: TaskParams, draw: random.Random, whole: dict[str, bytes]) -> tuple[Counter[str], str]:
    """Kill a training until it is over; how often it was killed, by kind, and what is wrong."""
    clear(task)
    kills: Counter[str] = Counter()
    while sum(kills.values()) < LONGEST:
        os.environ["UNROLL_CHECKPOINT_STEPS"] = str(draw.choice([1, 2, 3, 7]))
        kinds = ["step"] if sum(kills.values()) < 2 else ["step", "step", "step", "name", "text"]
        kind, after = draw.choice(kinds), draw.random() < 0.5
        call = draw.randrange(1, 20) if kind == "step" else draw.randrange(1, 8)

        def prepare(kind: str = kind, call: int = call, after: bool = after) -> None:
            if kind == "step":
                killed_at(step.Steps, "take", call, after=after)
            elif kind == "name":
                for name in ("replace", "rename"):
                    killed_at(Path, name, call, after=after)
            else:
                killed_in_a_file(draw.randrange(1, 5))

        if attempt(task, params, prepare):
            break
        kills[kind] += 1
        final = {name: text for name, text in outputs(task).items() if name in whole}
        if half := [name for name, text in final.items() if text != whole[name]]:
            return kills, f"half-written under a final name after a kill ({kind} {call}): {half}"
        if draw.random() < 0.25:
            damage(task, draw)
            kills["damage"] += 1
    else:
        attempt(task, params)
    found = outputs(task)
    wrong = [name for name in sorted({*found, *whole}) if found.get(name) != whole.get(name)]
    left = list(task.paths.resume("").glob("*/*.safetensors*"))
    return kills, f"differs: {wrong}, left: {left}" if wrong or left else ""


def main(name: str, seed: int, chains: int) -> int:
    """The command line."""
    training_run.training_run = no_tracking
    task, draw, faults = Task(name), random.Random(seed), 0
    params = load()[name]
    undisturbed: dict[int, dict[str, bytes]] = {}
    for number in range(chains):
        which = draw.randrange(len(SETTINGS)) if number else 0
        chosen = params.model_copy(update={"train": params.train.model_copy(update=SETTINGS[which])})
        if which not in undisturbed:
            clear(task)
            assert attempt(task, chosen)
            undisturbed[which] = outputs(task)
            assert {Path(path).name for path in undisturbed[which]} >= {"network.json", "training.csv", "steps.csv"}
        kills, fault = chain(task, chosen, draw, undisturbed[which])
        faults += bool(fault)
        print(f"{name} {SETTINGS[which]}: killed {dict(kills)}: {fault or 'the same bytes'}", flush=True)
    return min(faults, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
