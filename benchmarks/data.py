"""Prepared data for the benchmarks, made once below a work folder and found again by what it was made from."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

from stages.data.files import fresh_folder, read_json, write_json
from stages.fetch.host import PRESENT
from stages.params import TaskParams, load
from stages.preprocessing.preparation import Preparation
from stages.provenance.hashes import code_md5
from stages.recipe import RECIPES, apply, lay_within
from stages.tasks.protocol import Task

REPOSITORY = Path(__file__).resolve().parent.parent

Params = TypeVar("Params", bound=TaskParams)
Overlay = Mapping[str, Any]  # blocks within blocks, laid over params as a recipe is


def digest(facts: Mapping[str, Any]) -> str:
    """A short name for what was made from these facts, to find it again by."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def kept(folder: Path, facts: Mapping[str, Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `make` returns, from a file in `folder` where it was made from the same facts before."""
    path = folder / f"{digest(facts)}.json"
    if not path.is_file():
        write_json(path, make())
    return read_json(path)


def prepared(task: Task, params: TaskParams, work: Path, *, anew: bool = False) -> Path:
    """The folder of a task's prepared data; downloaded and prepared where `work` does not hold it yet, or `anew`."""
    facts = {
        "code": code_md5([f"stages.tasks.{task.name}.{part}" for part in ("source.download", "prepare.prepare")]),
        "source": params.source.model_dump(),
        "prepare": params.prepare.model_dump(),
    }
    final = work / "prepared" / f"{task.name}-{digest(facts)}"
    if anew or not final.is_dir():
        print(f"preparing {final}", flush=True)
        with fresh_folder(raw_folder(final)) as raw:
            task.source().download(params.source, raw, PRESENT)
        # Anew is without the parts that an earlier preparation has left.
        with (
            tempfile.TemporaryDirectory() as empty,
            patch.dict(os.environ, {"UNROLL_RESUME": empty} if anew else {}),
            fresh_folder(final) as folder,
            Preparation(folder, max_rejected_share=1.0) as output,
        ):
            task.prepare().prepare(raw_folder(final), params.prepare, output)
    return final


def raw_folder(prepared: Path) -> Path:
    """Where the files lie that a folder of `prepared` was made from."""
    return prepared.parents[1] / "raw" / prepared.name


def sample(task: Task, work: Path) -> tuple[Path, TaskParams]:
    """The embedded sample of a task, prepared, and its params."""
    params = load(REPOSITORY / "params.yaml")[task.name]
    return prepared(task, params, work), params


def recipe_params(name: str, data: Path, work: Path) -> tuple[Task, TaskParams]:
    """A recipe's first task and its params, with the folder `data` in place of the host."""
    path = work / "params.yaml"
    work.mkdir(parents=True, exist_ok=True)
    shutil.copy(REPOSITORY / "params.yaml", path)
    task, *_ = apply(REPOSITORY / RECIPES / f"{name}.yaml", path)
    params = load(path)[task]
    source = params.source.model_copy(update={"url": data.resolve().as_uri()})
    return Task(task), params.model_copy(update={"source": source})


def overlaid(params: Params, overlay: Overlay) -> Params:
    """Params with an overlay laid over them; checked as params.yaml is."""
    values = params.model_dump(by_alias=True)
    lay_within(values, overlay, type(params))
    return type(params).model_validate(values)
