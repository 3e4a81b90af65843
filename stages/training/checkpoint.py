"""The state of a training on disk, so that one that was stopped at any step goes on as if nothing had happened.

It lies in `.resume/SIGNATURE/`, where the signature hashes all that decides the training's outcome: after an edit of
data, code or params an old state is never found. It is one safetensors file, tensors and JSON together, with a sha256
over both: a disk that has lost a bit would give other weights without a word. The state before the newest is kept, so
that a damaged one costs the time since that, and no result: whatever state a training goes on from, it ends with the
same bytes. Where UNROLL_RESUME is an address, the states lie there (`state_mirror.py`).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .state_mirror import StateMirror

_NEWEST, _BEFORE = "checkpoint.safetensors", "checkpoint.before.safetensors"
_DAMAGED = ".damaged"  # behind the name of a state that was set aside
_UNREADABLE = (OSError, SafetensorError, ValueError, KeyError)


class Checkpoints:
    """The two newest states of one training.

    A state is due `seconds` after the last one, or after `steps` steps where that is not 0. How often cannot change a
    result, so both come from the environment and not from params.yaml.
    """

    def __init__(self, folder: Path, *, seconds: float, steps: int = 0) -> None:
        self.folder = folder
        self._newest, self._before = folder / _NEWEST, folder / _BEFORE
        self._seconds = seconds
        self._steps = steps
        self._saved = time.monotonic()
        self._loaded: tuple[dict[str, Tensor], dict[str, Any]] | None = None
        self._mirror = StateMirror.of(folder)

    @classmethod
    def of(cls, folder: Path) -> Checkpoints:
        """With UNROLL_CHECKPOINT_SECONDS (30) and UNROLL_CHECKPOINT_STEPS (0: by time alone)."""
        seconds = float(os.environ.get("UNROLL_CHECKPOINT_SECONDS", "30"))
        return cls(folder, seconds=seconds, steps=int(os.environ.get("UNROLL_CHECKPOINT_STEPS", "0")))

    def due(self, step: int, *, taken: int = 1) -> bool:
        """Whether to save after `step` steps of the whole training, `taken` of them since this was last asked."""
        by_steps = self._steps > 0 and step // self._steps > (step - taken) // self._steps
        return by_steps or time.monotonic() - self._saved >= self._seconds

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Save a state; of those before, the newest stays. A disk that refuses leaves both in place, and says so."""
        self._saved, self._loaded = time.monotonic(), None
        temporary = self.folder / f".{_NEWEST}.{os.getpid()}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
            text = json.dumps(facts)
            save_file(whole, temporary, metadata={"facts": text, "sha256": _sha256(whole, text)})
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            with suppress(FileNotFoundError):
                self._newest.replace(self._before)
            temporary.replace(self._newest)
            if self._mirror is not None:
                self._mirror.push(_NEWEST, _BEFORE)
        except (OSError, SafetensorError) as error:
            temporary.unlink(missing_ok=True)
            saved = any(path.is_file() for path in (self._newest, self._before))
            kept = "the previous one stays" if saved else "there is no previous one"
            print(f"unroll: checkpoint {self._newest}: not saved, {kept}: {error}", file=sys.stderr, flush=True)

    def steps(self) -> int | None:
        """After how many steps of the whole training the state was taken that `load` gives; None without one."""
        self._loaded = self.load()
        return None if self._loaded is None else int(self._loaded[1]["steps"])

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The newest state that is whole, or None; a damaged one gets another name, which is told. For one process.

        What `steps` has read and checked is not read again, and not kept. Raises ConnectionError where the address
        that has the states does not answer.
        """
        if self._loaded is not None:
            loaded, self._loaded = self._loaded, None
            return loaded
        if self._mirror is not None:
            self._mirror.pull(_NEWEST, _BEFORE)
        for path in (self._newest, self._before):
            if path.is_file():
                try:
                    return _read(path)
                except _UNREADABLE as error:
                    aside = path.with_name(f"{path.name}{_DAMAGED}")
                    path.replace(aside)
                    if self._mirror is not None:
                        self._mirror.rename(path.name, aside.name)
                    older = path is self._newest and self._before.is_file()
                    instead = "trying the previous one" if older else "the training starts over"
                    reason = f"damaged ({error}); kept as {aside.name} until the training ends; {instead}"
                    print(f"unroll: checkpoint {path}: {reason}", file=sys.stderr, flush=True)
        return None

    def remove(self) -> None:
        """Delete the state: the training has ended and its outputs are written."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._mirror is not None:
            self._mirror.remove()


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A state. Raises one of _UNREADABLE where it is not what was saved."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata() or {}
    if metadata.get("sha256") != _sha256(tensors, metadata.get("facts", "")):
        raise ValueError("its content does not match its sha256")
    return tensors, json.loads(metadata["facts"])


def _sha256(tensors: Mapping[str, Tensor], facts: str) -> str:
    digest = hashlib.sha256(facts.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
