"""Create a new task as a copy of an existing one.

    python -m stages.new_task NAME --like sketch

It copies the task's folder, its block in params.yaml, its entry in dvc.yaml and its pin, all under the new name. The
copy runs as it is (`dvc repro register@NAME`); then change its parts one by one, `source` first. docs/new-task.md
describes each part. To undo, delete the folder, the block in params.yaml, the entries in dvc.yaml and
sources/NAME.json.
"""

from __future__ import annotations

import argparse
import keyword
import re
import shutil
import sys
from pathlib import Path

import yaml

from .paths import Paths
from .sources.pins import path_of
from .tasks.protocol import Task

HERE = Path(__file__).parents[1]


def copy_task(name: str, like: str, root: Path = HERE) -> list[Path]:
    """Copy the task `like` of the checkout `root` as the task `name`; returns what was made or changed.

    Raises ValueError, and changes nothing, for a name that is taken or cannot be a package's.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise ValueError(
            f"found the name {name!r}; allowed: lower-case letters, digits and _, "
            "such as hand_gesture; not a Python keyword"
        )
    if yaml.safe_load(name) != name:
        raise ValueError(f"found the name {name!r}, which YAML does not read as text; allowed: another name")
    folder = root / "stages/tasks" / name
    params, dag = root / "params.yaml", root / "dvc.yaml"
    if (
        folder.exists()
        or folder.with_suffix(".py").exists()
        or re.search(rf"^{name}:", params.read_text(encoding="utf-8"), re.MULTILINE)
    ):
        raise ValueError(f"the task {name!r} already exists in stages/tasks/ or in params.yaml")
    changed = {
        params: _with_block(params.read_text(encoding="utf-8"), name, like),
        dag: _with_entry(dag.read_text(encoding="utf-8"), name, like),
    }
    shutil.copytree(folder.with_name(like), folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in folder.rglob("*.*"):
        if file.suffix in (".py", ".md", ".yaml"):
            file.write_text(_renamed(file.read_text(encoding="utf-8"), name, like), encoding="utf-8")
    pin = root / path_of(like)
    if pin.is_file():  # else the task learns from the data of another
        changed[root / path_of(name)] = pin.read_text(encoding="utf-8")
    changed[root / Paths(name, name).weights_pin] = "{}\n"
    for file, text in changed.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return [folder, *changed]


def _with_block(params: str, name: str, like: str) -> str:
    """params.yaml with a copy of a task's block, comments and all, at its end."""
    found = re.search(rf"^{like}:\n(?:(?:[ ].*)?\n)*", params, re.MULTILINE)
    if found is None:
        raise ValueError(f"params.yaml has no block {like!r} that starts on a line of its own")
    return f"{params.rstrip()}\n\n{_renamed(found.group(), name, like).rstrip()}\n"


def _with_entry(dag: str, name: str, like: str) -> str:
    """dvc.yaml with an entry of the task below the one that it was copied from."""
    entry = re.search(rf"^ +{like}: \{{dataset_task: .*\n", dag, re.MULTILINE)
    if entry is None:
        raise ValueError(f"dvc.yaml has no entry {like}: {{dataset_task: …}} under vars")
    copied = entry.group().replace(f"{like}:", f"{name}:").replace(f"dataset_task: {like},", f"dataset_task: {name},")
    copied = copied.replace(f"judge: weights/{like},", f"judge: weights/{name},")
    dag = dag.replace(entry.group(), entry.group() + copied)
    data = rf"^( +- dataset_tasks: \{{.*\b{like}: (\{{[^}}]*\}}).*)\}}$"
    dag = re.sub(data, rf"\1, {name}: \2}}", dag, flags=re.MULTILINE)
    dag = re.sub(rf"^( +- judged_tasks: \[.*\b{like}\b.*)\]$", rf"\1, {name}]", dag, flags=re.MULTILINE)
    for names in filter(lambda part: isinstance(part, dict), yaml.safe_load(dag)["vars"]):
        for key, tasks in names.items():
            if key in ("dataset_tasks", "judged_tasks") and like in tasks and name not in tasks:
                raise ValueError(
                    f"dvc.yaml: vars: {key} spans several lines; allowed: one line, since {name} is added to it"
                )
    return dag


def _renamed(text: str, name: str, like: str) -> str:
    """A text in which what names the task names the new one. The word itself may mean more: a forecast, a drawing."""
    before = r"^|data/|(?:parts|blocks) (?:of|under) `|The `|under `|dataset_task=\""
    after = r":$|/|`: |`\.|` block|` in params|\"|-"
    text = re.sub(rf"({before}){like}(?={after})", rf"\g<1>{name}", text, flags=re.MULTILINE)
    blocks = "source|prepare|model|judge|train|evaluate|register"
    text = re.sub(rf"(?<![\w./-]){like}(?=\.(?:{blocks})\b)", name, text)
    models = r"(?<=    model_name=\").*(?=\")|(?<=\"models:/).*(?=@champion)"
    return re.sub(models, lambda found: _model_name(found.group(), name, like), text)


def _model_name(model: str, name: str, like: str) -> str:
    """The registered model's name: `sketch-classifier` becomes `NAME-classifier`, `translator` becomes `NAME-model`."""
    kind = model.removeprefix(f"{like}-") if model.startswith(f"{like}-") else "model"
    return f"{name.replace('_', '-')}-{kind}"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m stages.new_task", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", metavar="NAME", help="name of the new task")
    parser.add_argument("--like", choices=Task.names(), required=True, help="the task to copy")
    args = parser.parse_args()
    try:
        made = copy_task(args.name, args.like)
    except ValueError as error:
        sys.exit(f"unroll: {error}")
    print("\n".join(str(path.relative_to(HERE)) for path in made))
    print(f"`dvc repro register@{args.name}` runs it as it is; `python -m stages.params` checks edits of params.yaml")


if __name__ == "__main__":
    main()
