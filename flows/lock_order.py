"""dvc.lock in the order in which a serial `dvc repro` would have written it.

DVC appends a stage that is new to dvc.lock when it ends, so stages that run side by side stand in the order of their
ends. The content is the same; the order is mended here, so that the file is the same, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml


def locked_stages(root: Path) -> tuple[str, ...]:
    """The stages that dvc.lock names, in its order. Only under DVC's lock: it writes the file in place."""
    try:
        text = (root / "dvc.lock").read_text(encoding="utf-8")
    except FileNotFoundError:
        return ()
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return tuple((yaml.load(text, Loader=loader) or {}).get("stages", ()))


def sort_lock(root: Path, *, before: Sequence[str], order: Sequence[str]) -> None:
    """Put dvc.lock in order: the stages it had `before`, as they stood, then the new ones in the pipeline's `order`."""
    from dvc.repo import Repo
    from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update

    path = root / "dvc.lock"
    with Repo(str(root), _wait_for_lock=True).lock:
        present = locked_stages(root)
        wanted = [name for name in dict.fromkeys((*before, *order, *present)) if name in present]
        if wanted == list(present):
            return
        content = parse_yaml_for_update(path.read_text(encoding="utf-8"), str(path))
        stages = content["stages"]
        content["stages"] = {name: stages[name] for name in wanted}
        temporary = path.with_name(".dvc.lock.partial")
        temporary.write_text(dumps_yaml(content), encoding="utf-8")
        temporary.replace(path)
