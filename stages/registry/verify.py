"""Is what the registry keeps still what was registered? Every hash that stands on a version, computed again."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..data.files import read_json
from ..params import load
from ..paths import MEASURED, SERVED
from ..provenance.hashes import content_md5, file_md5
from ..sources.dvc_cache import cache_path
from ..tasks.protocol import Task
from . import lineage
from .decision import facts
from .packaging import code_digest
from .versions import CONTENT, DIRTY, PACKAGE, PATCH, PATCH_FILE, RECEIPT, content_hash, receipt

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one thing that was hashed. `missing`: it is not here, or its hash was never noted."""

    item: str
    state: Literal["ok", "missing", "differs"]
    detail: str = ""

    def __str__(self) -> str:
        return f"  {self.state:<8} {self.item}{f': {self.detail}' if self.detail else ''}"


def compare_hash(item: str, found: str, wanted: str | None, covers: str = "") -> Finding:
    """A hash against the one that was noted; `covers` says what it is the hash of."""
    if wanted is None:
        return Finding(item, "missing", "no hash was recorded")
    return (
        Finding(item, "ok", covers)
        if found == wanted
        else Finding(item, "differs", f"found {found}, recorded {wanted}")
    )


def verify(client: MlflowClient, version: ModelVersion, cache: Path) -> Iterator[Finding]:
    """Check a version's receipt, its files in MLflow, its patch, and its data in DVC's `cache`."""
    yield compare_hash("receipt", content_hash(lineage.receipt(version)), version.tags.get(CONTENT))
    with tempfile.TemporaryDirectory() as temporary:
        yield from verify_model(version, Path(temporary))
        yield from _verify_patch(client, version, Path(temporary))
    for path, md5 in sorted(lineage.data_hashes(version).items()):
        yield verify_data(path, md5, cache)


def verify_model(version: ModelVersion, temporary: Path) -> Iterator[Finding]:
    """Check the weights and the packaged code, which are downloaded into the folder `temporary` / model."""
    import mlflow.artifacts
    from mlflow.exceptions import MlflowException

    try:
        model = temporary / "model"
        mlflow.artifacts.download_artifacts(f"models:/{version.name}/{version.version}", dst_path=str(model))
    except (MlflowException, OSError) as error:
        yield Finding("model", "missing", str(error).partition("\n")[0])
        return
    weights = weights_folder(model)
    if weights is None:
        yield Finding("weights", "missing")
    else:
        yield compare_hash("weights", content_md5(weights), facts(version).get(f"{RECEIPT}weights"), networks(weights))
    packages, script = sorted((model / "code").glob("unroll_*")), model / "model.py"
    if len(packages) != 1 or not script.is_file():
        yield Finding("code", "missing")
    else:
        yield compare_hash("code", code_digest(packages[0], script), facts(version).get(PACKAGE))


def weights_folder(model: Path) -> Path | None:
    """The weights in a downloaded model: the one folder among its artifacts."""
    return next(iter(sorted(path for path in (model / "artifacts").glob("*") if path.is_dir())), None)


def networks(weights: Path) -> str:
    """Which networks a weights folder holds, in words; nothing where older code has written it, with one alone."""
    return " and ".join(name for name in (MEASURED, SERVED) if (weights / name).is_dir())


def _verify_patch(client: MlflowClient, version: ModelVersion, temporary: Path) -> Iterator[Finding]:
    if facts(version).get(DIRTY) != "true":
        return
    path = lineage.recorded(client, version, PATCH_FILE, temporary)
    if path is None:
        noted = PATCH in facts(version)
        yield Finding("patch", "missing", "" if noted else "the working tree had changes, but none in code or params")
        return
    yield compare_hash("patch", hashlib.sha256(path.read_bytes()).hexdigest(), facts(version).get(PATCH))


def verify_data(path: str, md5: str, cache: Path) -> Finding:
    """Check a file or folder in DVC's cache: each of its files is there and is what its name says."""
    item = f"{path} in DVC's cache"
    own = cache_path(cache, md5)
    if not own.is_file():
        return Finding(item, "missing", md5)
    if file_md5(own) != md5.removesuffix(".dir"):
        return Finding(item, "differs", f"the md5 of {own} does not match its name")
    missing = 0
    for entry in json.loads(own.read_text(encoding="utf-8")) if md5.endswith(".dir") else []:
        file = cache_path(cache, entry["md5"])
        if not file.is_file():
            missing += 1
        elif file_md5(file) != entry["md5"]:
            return Finding(item, "differs", f"{entry['relpath']}: the md5 of {file} does not match its name")
    return Finding(item, "missing", f"{missing} files of {md5}") if missing else Finding(item, "ok")


def verify_receipt(task: Task) -> Finding | None:
    """Check the checkout's receipt against its outputs; None where it has none."""
    path = task.paths.receipt
    if not path.is_file():
        return None
    try:
        found = receipt(task, load()[task.name])
    except (ValueError, OSError) as error:
        return Finding(path.as_posix(), "missing", f"cannot hash its outputs: {error}")
    noted = read_json(path)
    other = ", ".join(name for name in noted if noted[name] != found.get(name))
    if other:
        return Finding(path.as_posix(), "differs", f"this checkout has a different {other}")
    return Finding(path.as_posix(), "ok")
