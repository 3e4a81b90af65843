"""Switch to a recipe: a real data set with settings that suit it, run as a DVC experiment.

    python -m stages.recipe NAME        lay recipes/NAME.yaml over params.yaml and run its task's stages
    python -m stages.recipe --list      the recipes and what they are
    git checkout params.yaml            go back

A recipe holds only the keys it changes. params.yaml keeps its comments. A key's value is replaced as a whole, also
where it is a mapping: a recipe's categories are all there are.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from .params import PARAMS_FILE, ParamsError, load, read

RECIPES = Path("recipes")


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
    overlay = read(recipe)
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 120
    before = params.read_text(encoding="utf-8")
    document = yaml.load(before)
    _lay_over(document, overlay, depth=0)
    with params.open("w", encoding="utf-8") as file:
        yaml.dump(document, file)
    try:
        load(params)
    except ParamsError as error:
        params.write_text(before, encoding="utf-8")
        raise ParamsError(f"{recipe}: {error}") from None
    return list(overlay)


def _lay_over(target: Any, overlay: dict[str, Any], *, depth: int) -> None:
    for key, value in overlay.items():
        # Task and block are the two levels whose keys are params; what is below is a value.
        if depth < 2 and isinstance(value, dict) and isinstance(target.get(key), CommentedMap):
            _lay_over(target[key], value, depth=depth + 1)
        else:
            target[key] = value


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m stages.recipe", description=__doc__)
    parser.add_argument("name", nargs="?", help=", ".join(available()))
    parser.add_argument("--list", action="store_true", help="show the recipes")
    parser.add_argument("--only-params", action="store_true", help="change params.yaml and run nothing")
    chosen = parser.parse_args()
    if chosen.list or chosen.name is None:
        for name, purpose in available().items():
            print(f"{name:<12} {purpose}")
        return
    if chosen.name not in available():
        sys.exit(f"unroll: recipe {chosen.name!r}: no such file in {RECIPES}/; there are: {', '.join(available())}")
    try:
        tasks = apply(RECIPES / f"{chosen.name}.yaml")
    except ParamsError as error:
        sys.exit(str(error))
    if not chosen.only_params:
        targets = [f"register@{task}" for task in tasks]
        sys.exit(subprocess.run([sys.executable, "-m", "dvc", "exp", "run", *targets], check=False).returncode)


if __name__ == "__main__":
    main()
