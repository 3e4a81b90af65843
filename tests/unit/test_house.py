"""The house: which room may import which, read from all imports, those for type checkers and late ones too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import networkx
import pytest

from stages.tasks.protocol import Task

REPOSITORY = Path(__file__).resolve().parents[2]
HOUSES = ("stages", "flows", "benchmarks")

# From the ground up. A room is a folder with all below it, or a file; imports lead to the same room or to lower floors.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("stages/environment.py", "stages/progress_bar.py", "stages/stopping.py"),
    ("stages/__init__.py", "stages/params_yaml.py", "stages/paths.py", "stages/metrics.py", "stages/data"),
    ("stages/cluster",),
    ("stages/archives", "stages/fetch", "stages/provenance", "stages/tasks/__init__.py", "stages/tasks/protocol.py"),
    ("stages/params.py", "stages/preprocessing", "stages/feedback"),
    ("stages/models", "stages/evaluation", "stages/sources"),
    ("stages/serving", "stages/training"),
    tuple(f"stages/tasks/{task}" for task in Task.names() if Task(task).description().dataset_task == task),
    tuple(f"stages/tasks/{task}" for task in Task.names() if Task(task).description().dataset_task != task),
    ("stages/tracking",),
    ("stages/command.py",),
    ("stages/registry", "stages/new_task.py", "stages/recipe.py", "stages/results.py"),
    ("stages/monitoring",),
    (
        "stages/download.py",
        "stages/preprocess.py",
        "stages/train.py",
        "stages/evaluate.py",
        "stages/register.py",
        "stages/judge.py",
    ),
    ("stages/refresh.py",),
    ("stages/drift.py", "stages/forecast.py", "stages/predict.py", "stages/repro.py"),
    ("stages/score.py",),
    ("stages/nightly.py",),
    ("flows/__init__.py", "flows/compat.py"),
    ("flows/dag.py", "flows/options.py", "flows/record.py"),
    ("flows/hold_back.py",),
    ("flows/plan.py", "flows/execution"),
    ("flows/reports", "flows/server"),
    ("flows/night",),
    ("flows/pipeline.py",),
    ("flows/promote.py", "flows/run.py", "flows/forecast.py"),
    ("flows/tune", "flows/replay", "flows/demo"),
    ("benchmarks",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

WORKSHOPS = (
    *(
        "archives",
        "cluster",
        "data",
        "evaluation",
        "feedback",
        "fetch",
        "models",
        "monitoring",
        "preprocessing",
        "provenance",
        "registry",
    ),
    *("serving", "sources", "tracking", "training"),
)
KNOW_WHAT_A_TASK_IS = (
    "evaluation",
    "feedback",
    "monitoring",
    "preprocessing",
    "registry",
    "serving",
    "tracking",
)  # and no task by name

# The parts of a task, from the ground up.
PARTS = (
    ("__init__", "params"),
    ("data",),
    ("source", "prepare", "model"),
    ("evaluate", "serve", "rows"),
    ("labelled", "forecasts", "corrections"),
)
PART = {part: number for number, parts in enumerate(PARTS) for part in parts}


@cache
def files() -> dict[str, Path]:
    """Every module of the houses by its dotted name."""
    found = {}
    for path in (path for house in HOUSES for path in (REPOSITORY / house).rglob("*.py")):
        parts = path.relative_to(REPOSITORY).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.relative_to(REPOSITORY)
    return found


def imported(module: str) -> Iterator[str]:
    """The modules of the houses that a module names in any import."""
    path = files()[module]
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in files())
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                target = f"{source}.{alias.name}"
                if target in files() or source in files():
                    yield target if target in files() else source


@cache
def arrows() -> tuple[tuple[Path, Path], ...]:
    """Who imports whom, as files."""
    return tuple((files()[module], files()[target]) for module in files() for target in imported(module))


def room(path: Path) -> str:
    """The longest of the rooms that a file lies in."""
    names = [name for name in FLOOR if path.as_posix() == name or path.as_posix().startswith(f"{name}/")]
    assert names, f"{path}: no room of FLOORS; say on which floor it stands"
    return max(names, key=len)


def circles(pairs: set[tuple[str, str]]) -> list[list[str]]:
    graph = networkx.DiGraph([(one, other) for one, other in pairs if one != other])
    return [sorted(some) for some in networkx.strongly_connected_components(graph) if len(some) > 1]


def test_every_file_stands_on_a_floor():
    for path in files().values():
        room(path)


def test_the_imports_are_seen():
    found = {(one.as_posix(), other.as_posix()) for one, other in arrows()}
    assert ("stages/train.py", "stages/training/loop.py") in found  # inside a function
    assert ("stages/registry/gate.py", "stages/tasks/protocol.py") in found  # for a type checker
    assert ("flows/pipeline.py", "stages/params.py") in found  # absolute
    assert len(found) > 500


def test_no_files_import_each_other_in_a_circle():
    assert circles({(one.as_posix(), other.as_posix()) for one, other in arrows()}) == []


def test_no_rooms_import_each_other_in_a_circle():
    assert circles({(room(one), room(other)) for one, other in arrows()}) == []


def test_imports_lead_downwards():
    upwards = [
        f"{one} imports {other}"
        for one, other in arrows()
        if room(one) != room(other) and FLOOR[room(one)] <= FLOOR[room(other)]
    ]
    assert upwards == []


@pytest.mark.parametrize("workshop", WORKSHOPS)
def test_a_workshop_knows_no_task(workshop):
    targets = {other.as_posix() for one, other in arrows() if one.is_relative_to(f"stages/{workshop}")}
    allowed = {"stages/tasks/protocol.py"} if workshop in KNOW_WHAT_A_TASK_IS else set()
    assert {target for target in targets if target.startswith("stages/tasks/")} <= allowed


def test_every_folder_of_stages_is_a_workshop_or_the_tasks():
    folders = {path.parts[1] for path in files().values() if path.parts[0] == "stages" and len(path.parts) > 2}
    assert folders == {*WORKSHOPS, "tasks"}


def test_what_a_task_is_imports_no_workshop():
    targets = {other.as_posix() for one, other in arrows() if one == Path("stages/tasks/protocol.py")}
    assert targets == {"stages/paths.py"}


def test_the_parts_of_a_task_build_on_each_other_in_one_direction():
    def part(path: Path) -> str:
        return path.parts[3].removesuffix(".py")

    inside = [
        (one, other)
        for one, other in arrows()
        if len(one.parts) > 3 and one.parts[:2] == ("stages", "tasks") and one.parts[:3] == other.parts[:3]
    ]
    assert len(inside) > 100
    wrong = [f"{a} imports {b}" for a, b in inside if part(a) != part(b) and PART[part(a)] <= PART[part(b)]]
    assert wrong == []


def test_nothing_in_stages_knows_prefect():
    for path in files().values():
        if path.parts[0] == "stages":
            assert "prefect" not in {name.partition(".")[0] for name in foreign(path)}, path


def foreign(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or ""
