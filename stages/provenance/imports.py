"""Which of the project's own modules a module runs with: read from the source, without importing anything.

Two things rest on it: what travels inside a registered model, and the test that dvc.yaml names the code a stage runs.
Imports that only a type checker sees (`if TYPE_CHECKING:`) do not count.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Glue decides which code runs, where its outputs lie and what is told to whom, never what an output holds: no stage
# depends on it, or on what it alone imports, and no signature counts it. Params are checked by their schemas and never
# filled in by them; their values are compared apart.
_GLUE_FILES = frozenset(
    f"stages/{name}.py"
    for name in ("__init__", "command", "params", "params_yaml", "paths", "progress_bar", "stopping")
)
_GLUE_FOLDERS = (("stages", "cluster"), ("stages", "tracking"))
_GLUE_IN_TASKS = ("__init__.py", "params.py", "protocol.py")


def is_glue(path: Path) -> bool:
    """Whether a file, relative to the project, can change no result: see above."""
    in_tasks = path.parts[:2] == ("stages", "tasks") and len(path.parts) <= 4 and path.name in _GLUE_IN_TASKS
    return path.as_posix() in _GLUE_FILES or path.parts[:2] in _GLUE_FOLDERS or in_tasks


def closure(module: str, *, root: Path = ROOT) -> list[Path]:
    """The files of `module` (such as `stages.train`) and all project modules it imports, relative to `root`, sorted.

    A package's `__init__.py` belongs to each of its modules. Raises ValueError for a module that has no file.
    """
    return _closure(module, root, through_glue=True)


def deciding(module: str, *, root: Path = ROOT) -> list[Path]:
    """Those files of `closure` that can change what an output holds: no glue, and nothing that glue alone imports."""
    return [path for path in _closure(module, root, through_glue=False) if not is_glue(path)]


def _closure(module: str, root: Path, *, through_glue: bool) -> list[Path]:
    if _file(module, root) is None:
        raise ValueError(f"{module}: no such module below {root}")
    files: dict[str, Path] = {}
    pending = [module]
    while pending:
        name = pending.pop()
        path = _file(name, root)
        if name in files or path is None:
            continue
        files[name] = path
        if "." in name:
            pending.append(name.rpartition(".")[0])
        if through_glue or not is_glue(path.relative_to(root)):
            pending.extend(_imported(name, path))
    return sorted(path.relative_to(root) for path in files.values())


def _file(module: str, root: Path) -> Path | None:
    base = root.joinpath(*module.split("."))
    return next((path for path in (base / "__init__.py", base.with_suffix(".py")) if path.is_file()), None)


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
    """All nodes below one, without those that only a type checker sees."""
    children = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        children = list(node.orelse)
    for child in children:
        yield child
        yield from _statements(child)
