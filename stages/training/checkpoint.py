"""The state of a training on disk, so that one that was stopped at any step goes on as if nothing had happened.

It lies in `.resume/SIGNATURE/`, where the signature hashes all that decides the training's outcome: after an edit of
data, code or params an old state is never found. It is one safetensors file, tensors and JSON together.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

_FILE = "checkpoint.safetensors"
_UNREADABLE = (OSError, SafetensorError, ValueError, KeyError)


class Checkpoints:
    """The newest state of one training.

    A state is due `seconds` after the last one, or after `steps` steps where that is not 0. How often cannot change a
    result, so both come from the environment and not from params.yaml.
    """

    def __init__(self, folder: Path, *, seconds: float, steps: int = 0) -> None:
        self.folder = folder
        self._path = folder / _FILE
        self._seconds = seconds
        self._steps = steps
        self._saved = time.monotonic()

    @classmethod
    def of(cls, folder: Path) -> Checkpoints:
        """With UNROLL_CHECKPOINT_SECONDS (30) and UNROLL_CHECKPOINT_STEPS (0: by time alone)."""
        seconds = float(os.environ.get("UNROLL_CHECKPOINT_SECONDS", "30"))
        return cls(folder, seconds=seconds, steps=int(os.environ.get("UNROLL_CHECKPOINT_STEPS", "0")))

    def due(self, step: int) -> bool:
        """Whether to save after `step` steps of the whole training."""
        return (self._steps > 0 and step % self._steps == 0) or time.monotonic() - self._saved >= self._seconds

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Replace the saved state. A disk that refuses leaves the old one in place, and says so."""
        self._saved = time.monotonic()
        temporary = self.folder / f".{_FILE}.{os.getpid()}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            whole = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
            save_file(whole, temporary, metadata={"facts": json.dumps(facts)})
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(self._path)
        except (OSError, SafetensorError) as error:
            temporary.unlink(missing_ok=True)
            kept = "the one before stays" if self._path.is_file() else "there is none before it"
            print(f"unroll: checkpoint {self._path}: not saved, {kept}: {error}", file=sys.stderr, flush=True)

    def steps(self) -> int | None:
        """After how many steps of the whole training the saved state was taken; None where there is none to read."""
        with suppress(*_UNREADABLE), safe_open(self._path, framework="pt") as file:
            return int(_facts(file)["steps"])
        return None

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The saved state, or None where there is none that can be read."""
        if not self._path.is_file():
            return None
        try:
            with safe_open(self._path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}, _facts(file)  # noqa: SIM118
        except _UNREADABLE as error:
            print(f"unroll: checkpoint {self._path}: cannot be read, starting anew: {error}", file=sys.stderr)
            return None

    def remove(self) -> None:
        """Delete the state: the training has ended and its outputs are written."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _facts(file: Any) -> dict[str, Any]:
    return json.loads((file.metadata() or {})["facts"])
