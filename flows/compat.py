"""What we use of DVC beyond its documented API; `tests/unit/test_compat.py` says which version it was tried with."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage

TRIED_WITH = "3.67.1"


def open_repo(root: Path) -> Repo:
    """The repository in a folder, which waits for DVC's lock where another process holds it. Raises DvcException."""
    from dvc.repo import Repo

    return Repo(str(root), _wait_for_lock=True)


def in_run_cache(repo: Repo, stage: Stage) -> bool:
    """Whether DVC has a result for just these deps and params, so that a `dvc repro` would only check it out.

    DVC's own `stage_cache.restore(dry=True)` would do, but for two things: it believes the outputs of dvc.lock where
    deps have changed, and it works in the present folder only.
    """
    from dvc.dependency.base import DependencyDoesNotExistError
    from dvc.stage.cache import _can_hash
    from dvc.stage.loader import StageLoader

    before = [(entry, entry.hash_info, entry.meta) for entry in (*stage.deps, *stage.outs)]
    command_changed = stage.cmd_changed
    try:
        if not stage.changed_stage() and not any(dep.changed() for dep in stage.deps) and stage.outs_cached():
            return True
        stage.save_deps()
        cached = repo.stage_cache._load(stage) if _can_hash(stage) else None
        if cached is None:
            return False
        StageLoader.fill_from_lock(stage, cached)
        return stage.outs_cached()
    except DependencyDoesNotExistError:
        return False
    finally:
        stage.cmd_changed = command_changed
        for entry, hash_info, meta in before:
            entry.hash_info, entry.meta = hash_info, meta


class ParamsFiles:
    """Files of params, each parsed once for as long as it stays the same: DVC parses it for each stage, and its parser
    takes a tenth of a second for ours.
    """

    def __init__(self) -> None:
        self._read: dict[str, tuple[tuple[int, int, int], Any]] = {}

    def read(self, dep: Any) -> dict[str, Any]:
        """What a stage's `ParamsDependency` reads now, by its keys: `dep.read_params()`."""
        import dpath
        from dvc.utils.serialize import load_path

        try:
            status = Path(dep.fs_path).stat()
        except FileNotFoundError:
            return {}
        stamp = status.st_ino, status.st_mtime_ns, status.st_size
        if dep.fs_path not in self._read or self._read[dep.fs_path][0] != stamp:
            self._read[dep.fs_path] = stamp, load_path(dep.fs_path, dep.repo.fs)
        values = self._read[dep.fs_path][1]
        if not dep.params:
            return dict(values)
        found = {}
        for key in dep.params:
            with suppress(KeyError):
                found[key] = dpath.get(values, key, separator=".")
        return found
