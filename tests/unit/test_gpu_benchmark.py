"""`benchmarks.gpu` goes to machines that have little more than torch: what it imports is there."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator

from benchmarks import gpu_data, gpu_ranks
from stages.data.store import FILE_NAME, SequenceStore
from stages.params import load
from stages.provenance.imports import ROOT, closure
from stages.tasks.protocol import Task

ALLOWED = {"numpy", "pyarrow", "pydantic", "safetensors", "torch", "tqdm", "yaml"}


def at_import(node: ast.AST) -> Iterator[ast.AST]:
    """All statements that run when a module is imported."""
    for child in ast.iter_child_nodes(node):
        typing_only = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        if not (typing_only or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)):
            yield child
            yield from at_import(child)


def test_all_that_it_imports_is_allowed() -> None:
    modules = ["benchmarks.gpu"]
    for task in gpu_data.MAKERS:  # found by name, so that no import leads there
        modules += [f"stages.tasks.{task}.{part}" for part in ("params", "model.network")]
    files = {path for module in modules for path in closure(module)}
    assert {path.as_posix() for path in files} >= {"stages/training/step.py", "stages/tasks/video/source/sample.py"}
    foreign = {}
    for path in files:
        for node in at_import(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names = [node.module]
            found = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - ALLOWED
            if found - {"stages", "benchmarks"}:
                foreign[path.as_posix()] = found
    assert not foreign


def test_the_data_it_makes_is_read_as_prepared_data(tmp_path) -> None:
    params = load(gpu_data.PARAMS_FILE)
    for task in gpu_data.MAKERS:
        folder = gpu_data.make(task, tmp_path / task, 16)
        dataset = Task(task).model().dataset(folder, "train", params[task], augment=True)
        assert len(dataset) == 16
        assert len(SequenceStore(folder / FILE_NAME)) == 18
        batch = dataset.batch(dataset.lengths.argsort()[:3], epoch=0)
        assert batch.values.shape[0] == 3
        assert dataset.name(2) == "2"


def test_how_far_losses_lie_apart_is_relative_to_one_process_alone() -> None:
    sides = {"alone": {"losses": [2.0, 4.0]}, "one rank, NCCL": {"losses": [2.0, 4.04]}, "alone, on the CPU": "failed"}
    assert gpu_ranks.apart(sides) == {"alone": 0.0, "one rank, NCCL": 0.01, "alone, on the CPU": "failed"}
