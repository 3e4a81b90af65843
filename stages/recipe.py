"""Switch to a recipe: a real data set with settings that suit it, run as a DVC experiment.

    python -m stages.recipe NAME        apply recipes/NAME.yaml to params.yaml and run its task's stages
    python -m stages.recipe --list      list the recipes, with a description
    git checkout params.yaml dvc.lock && dvc repro      undo

A recipe contains only the keys it changes. params.yaml keeps its comments. A value that is a mapping, such as a
recipe's categories, is replaced as a whole.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from .params import RENAMED, Block, load
from .params_yaml import PARAMS_FILE, ParamsError, parse, read
from .tasks.protocol import Task

RECIPES = Path("recipes")
_RENAMED = tuple(f".{old}" for old in RENAMED)


def available() -> dict[str, str]:
    """Each recipe's name and the first line of its comment."""
    return {
        path.stem: path.read_text(encoding="utf-8").splitlines()[0].removeprefix("#").strip()
        for path in sorted(RECIPES.glob("*.yaml"))
    }


def apply(recipe: Path, params: Path = PARAMS_FILE) -> list[str]:
    """Lay a recipe over params.yaml and check the result; returns the tasks it touches.

    Raises ParamsError, and leaves params.yaml as it was, where the recipe names an unknown key or a value out of range.
    """
    return lay_over(read(recipe), params, source=str(recipe))


def override(assignments: Sequence[str], params: Path = PARAMS_FILE) -> list[str]:
    """Set single keys of params.yaml, each given as `sketch.train.epochs=3`; returns the tasks it touches.

    Raises ParamsError, and leaves params.yaml as it was, as `apply` does.
    """
    overlay: dict[str, Any] = {}
    for assignment in assignments:
        key, separator, value = assignment.partition("=")
        task, *names = key.strip().split(".")
        if not separator or len(names) < 2:
            raise ParamsError(
                f"override: found {assignment!r}; allowed: TASK.BLOCK.KEY=VALUE, such as sketch.train.epochs=3"
            )
        block = overlay.setdefault(task, {})
        for name in names[:-1]:
            block = block.setdefault(name, {})
        block[names[-1]] = parse(value)
    return lay_over(overlay, params, source="override")


def lay_over(overlay: Mapping[str, Any], params: Path, *, source: str) -> list[str]:
    """Lay nested mappings over params.yaml, which keeps its comments, and check the result; see `apply`."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 120
    before = params.read_text(encoding="utf-8")
    document = yaml.load(before)
    for task, blocks in overlay.items():
        if task not in Task.names():
            raise ParamsError(f"{source}: {task}: not a task; allowed: {', '.join(Task.names())}")
        try:
            lay_within(document[task], blocks, Task(task).params_type(), prefix=f"{source}: {task}.")
        except (KeyError, TypeError) as error:
            raise ParamsError(f"{source}: {task}: no such key: {error}") from None
    with params.open("w", encoding="utf-8") as file:
        yaml.dump(document, file)
    try:
        load(params)
    except ParamsError as error:
        params.write_text(before, encoding="utf-8")
        # Not the file's path: it may be that of a run's worktree, which is soon deleted.
        raise ParamsError(f"{source}: {str(error).replace(f'{params}: ', '')}") from None
    return list(overlay)


def lay_within(target: Any, overlay: Mapping[str, Any], block: type[Block], *, prefix: str = "") -> None:
    """Lay nested mappings over the values of a block and of the blocks in it, in place.

    Raises ParamsError for a key that the block does not have; its message begins with `prefix`.
    """
    types = {field.alias or name: field.annotation for name, field in block.model_fields.items()}
    for key, value in overlay.items():
        inner = types.get(key)
        name = f"{prefix}{key}"
        if key not in types and not name.endswith(_RENAMED):  # `load` says what those are now
            raise ParamsError(f"{name}: unknown key; allowed: {', '.join(types)}")
        if isinstance(value, Mapping) and isinstance(inner, type) and issubclass(inner, Block):
            if key not in target:
                target[key] = {}
            lay_within(target[key], value, inner, prefix=f"{name}.")
        else:
            target[key] = value


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m stages.recipe", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="?", help=", ".join(available()))
    parser.add_argument("--list", action="store_true", help="list the recipes")
    parser.add_argument("--only-params", action="store_true", help="change params.yaml and run nothing")
    args = parser.parse_args()
    if args.list or args.name is None:
        for name, purpose in available().items():
            print(f"{name:<12} {purpose}")
        return
    if args.name not in available():
        sys.exit(f"unroll: recipe {args.name!r}: no such file in {RECIPES}/; allowed: {', '.join(available())}")
    try:
        tasks = apply(RECIPES / f"{args.name}.yaml")
    except ParamsError as error:
        sys.exit(str(error))
    print(f"applied {RECIPES}/{args.name}.yaml to {PARAMS_FILE}, on top of any edits there (`git diff {PARAMS_FILE}`)")
    if not args.only_params:
        targets = [f"register@{task}" for task in tasks]
        sys.exit(subprocess.run([sys.executable, "-m", "dvc", "exp", "run", *targets], check=False).returncode)


if __name__ == "__main__":
    main()
