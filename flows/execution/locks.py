"""Locks that end with their holder, and the leases of GPUs that rest on them.

A lock is an open file under flock(2): the kernel lifts it when the last process that has the file open is gone, also
after `kill -9`. Its descriptor is handed on to the supervisor of the work that is done under it, so that it lasts until
that work has ended, however the process that started it ended.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

_POLL = 0.2  # seconds between two tries


class StoppedError(RuntimeError):
    """The work was stopped before it was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """GPUs that are ours for now, as CUDA_VISIBLE_DEVICES names them, and the descriptors that hold them."""

    devices: tuple[str, ...]
    descriptors: tuple[int, ...]


@contextmanager
def locked(
    path: Path, *, shared: bool = False, stop: threading.Event, on_wait: Callable[[], None] = lambda: None
) -> Iterator[int]:
    """Hold a file's lock, alone or with others that share it; gives its descriptor.

    Waits for as long as another has it (and then calls `on_wait` once). Raises StoppedError if `stop` is set meanwhile.
    """
    with opened(path) as descriptor:
        waiting = False
        while not try_lock(descriptor, shared=shared):
            if not waiting:
                on_wait()
                waiting = True
            if stop.wait(_POLL):
                raise StoppedError("stopped while waiting for another run")
        yield descriptor


@contextmanager
def leased(count: int, *, stop: threading.Event, on_wait: Callable[[], None] = lambda: None) -> Iterator[Lease]:
    """Have `count` GPUs of this machine to ourselves; none where it has none, since every stage runs on a CPU as well.

    Waits until so many are free at once. Raises ValueError if the machine has some, but fewer than that, and
    StoppedError if `stop` is set while waiting.
    """
    devices = gpus() if count else ()
    if devices and len(devices) < count:
        raise ValueError(
            f"GPUs of this machine: found {len(devices)}, but the stage needs {count}: its ranks (params.yaml) times "
            f"`gpus` (its `meta` in dvc.yaml)"
        )
    if not devices:
        yield Lease(devices=(), descriptors=())
        return
    waiting = False
    while True:
        with ExitStack() as held:
            free = _take(devices, count, held)
            if len(free) == count:
                yield Lease(devices=tuple(free), descriptors=tuple(free.values()))
                return
        if not waiting:
            on_wait()
            waiting = True
        if stop.wait(_POLL):
            raise StoppedError("stopped while waiting for a GPU")


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """The descriptor of a file for locks, which is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def try_lock(descriptor: int, *, shared: bool) -> bool:
    """Whether the lock could be had at once."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def gpus() -> tuple[str, ...]:
    """The GPUs that this process may use: those of CUDA_VISIBLE_DEVICES where it is set, or else all that there are."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return tuple(device.strip() for device in named.split(",") if device.strip() and device.strip() != "-1")
    try:
        command = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):  # not there, or not to be run
        return ()
    return tuple(answer.stdout.split()) if answer.returncode == 0 else ()


def leases_folder() -> Path:
    """UNROLL_LEASES, or else a folder of this user on this machine: all checkouts share the same GPUs."""
    named = os.environ.get("UNROLL_LEASES")
    return Path(named) if named else Path(tempfile.gettempdir()) / f"unroll-{os.getuid()}"


def _take(devices: Sequence[str], count: int, held: ExitStack) -> dict[str, int]:
    free: dict[str, int] = {}
    for device in devices:
        if len(free) < count:
            one = ExitStack()
            descriptor = one.enter_context(opened(leases_folder() / f"gpu-{device}.lock"))
            if try_lock(descriptor, shared=False):
                free[device] = descriptor
                held.push(one)
            else:
                one.close()
    return free
