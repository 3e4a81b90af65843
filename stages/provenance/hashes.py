"""What a result depends on, as hashes: data, params, code.

Under DVC the hash of an upstream output is read from `dvc.lock`, which DVC has just checked; elsewhere it is
computed, in DVC's own way, so that both give the same digest.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from ..paths import Paths
from . import imports

LOCK_FILE = Path("dvc.lock")


def file_md5(path: Path) -> str:
    """The md5 of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def content_md5(path: Path) -> str:
    """DVC's md5 of a file or folder, relative to the project's folder; a folder's ends in `.dir`."""
    if os.environ.get("DVC_STAGE"):  # DVC runs us: it has just checked or made every dep
        outputs = (out for stage in locked_stages().values() for out in stage.get("outs", []))
        recorded = {out["path"]: out.get("md5") for out in outputs}.get(path.as_posix())
        if recorded:
            return str(recorded)
    if path.is_file():
        return file_md5(path)
    if not path.is_dir():
        raise ValueError(f"{path}: no such file or folder")
    files = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
    # The separators and the order are DVC's: dvc_data.hashfile.tree.Tree.as_bytes.
    listing = json.dumps([{"md5": file_md5(file), "relpath": name} for name, file in sorted(files.items())])
    return hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest() + ".dir"


def locked_stages() -> dict[str, dict[str, Any]]:
    """The stages of `dvc.lock` by name; empty where there is no lock file."""
    if not LOCK_FILE.is_file():
        return {}
    with LOCK_FILE.open(encoding="utf-8") as file:
        return yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)).get("stages", {})


def code_md5(modules: Iterable[str]) -> str:
    """One md5 over the source of some modules and of all project modules they import, without the glue."""
    files = sorted({path for module in modules for path in imports.deciding(module)})
    digest = hashlib.md5(usedforsecurity=False)
    for path in files:
        digest.update(f"{path.as_posix()}\0{file_md5(imports.ROOT / path)}\n".encode())
    return digest.hexdigest()


def training_signature(
    paths: Paths, model: Mapping[str, Any], train: Mapping[str, Any], device: str, start: str = ""
) -> str:
    """A hash of all that decides a training's outcome: code, data, two blocks of params, torch, the kind of device
    (`cpu` or `cuda`), the sha256 of the weights it starts from.
    """
    modules = ["stages.training.loop", "stages.training.debug_modes", f"stages.tasks.{paths.task}.model.network"]
    facts = {
        "task": paths.task,
        "data": content_md5(paths.prepared),
        "code": code_md5(modules),
        "torch": version("torch").partition("+")[0],
        "device": device,
        "model": model,
        "train": train,
        "start": start,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def metrics_signature(*, data: str, split: str, n: int, seed: int) -> str:
    """How a file of metrics was computed, in sacreBLEU's manner: `key:value` joined by `|`."""
    versions = "|".join(f"{name}:{version(name).partition('+')[0]}" for name in ("torch", "numpy", "scikit-learn"))
    return f"data:{data}|split:{split}|n:{n}|seed:{seed}|{versions}"


def parse_signature(signature: str) -> dict[str, str]:
    """The parts of a signature of metrics, `data:…|split:…|n:…`, by name."""
    return dict(part.split(":", 1) for part in signature.split("|") if ":" in part)
