"""Which of the project's own modules a module runs with: read from the source, without importing anything.

Two things rest on it: what travels inside a registered model, and the test that dvc.yaml names the code a stage runs.
Imports that only a type checker sees (`if TYPE_CHECKING:`) do not count.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Glue decides which code runs, where its outputs lie and what is told to whom, never what an output holds: no stage
# depends on it and no signature counts it. Params are checked by their schemas and never filled in by them; their
# values are compared apart.
_GLUE = frozenset(
    f"stages/{name}.py"
    for name in (
        *("__init__", "command", "params", "paths", "stopping", "table", "tasks/__init__"),
        *("tracking", "spool", "delivery", "runs", "mlflow_store"),
    )
)


def is_glue(path: Path) -> bool:
    """Whether a file of `closure` can change no result: see `_GLUE`; a task's own `__init__.py` and `params.py` too."""
    in_task = len(path.parts) == 4 and path.parts[:2] == ("stages", "tasks")
    return path.as_posix() in _GLUE or (in_task and path.name in ("__init__.py", "params.py"))


def closure(module: str, *, root: Path = ROOT) -> list[Path]:
    """The files of `module` (such as `stages.train`) and all project modules it imports, relative to `root`, sorted.

    A package's `__init__.py` belongs to each of its modules. Raises ValueError for a module that has no file.
    """
    if _file(module, root) is None:
        raise ValueError(f"{module}: no such module below {root}")
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _file(name, root)
        if name in found or path is None:
            continue
        found[name] = path
        if "." in name:
            waiting.append(name.rpartition(".")[0])
        waiting.extend(_imported(name, path))
    return sorted(path.relative_to(root) for path in found.values())


def _file(module: str, root: Path) -> Path | None:
    base = root.joinpath(*module.split("."))
    for path in (base / "__init__.py", base.with_suffix(".py")):
        if path.is_file():
            return path
    return None


def _imported(module: str, path: Path) -> Iterator[str]:
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in _statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = parts[: len(parts) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            yield source
            # `from package import name`: the name may be a module.
            yield from (f"{source}.{alias.name}" for alias in node.names)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            for other in child.orelse:
                yield other
                yield from _statements(other)
            continue
        yield child
        yield from _statements(child)
