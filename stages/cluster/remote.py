"""Data for nodes that do not share the sender's folder: over DVC's remote, where files lie by their md5.

The sender pushes what work reads (`Cargo`), a node fetches it into a folder of its own (`fetch`), which is bounded and
serves later runs. DVC's classes are used beyond its documented API; tried with DVC 3.67.1.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ..paths import delete_least_used, resume_folder
from .connection import VARIABLE, ClusterError, running_stage

MAX_BYTES = 20 * 10**9  # of files on a node; the least recently used go first
_TRIES = 3
_WAIT = 2.0  # seconds before the second try, twice as long before the third


class File(NamedTuple):
    """A file by its path in the sender's folder and its md5, in hexadecimal digits."""

    path: str
    md5: str


class Cargo:
    """What has been pushed for nodes without a shared folder."""

    def __init__(self) -> None:
        self._kept = resume_folder()
        self._listings: dict[Path, dict[str, File]] = {}

    def files(self, paths: Iterable[Path], item: Any = None) -> list[File]:
        """The files at or below some paths of this folder, which DVC's remote has from now on. Paths of other folders
        are left out, and the resume folder. Where the item of work is the name of a file below one, that alone.

        Raises ClusterError where there is no remote, or where it cannot be written to.
        """
        found: list[File] = []
        for path in dict.fromkeys(paths):
            whole = path.absolute()
            if whole.is_relative_to(self._kept) or not (whole.is_relative_to(Path.cwd()) and whole.exists()):
                continue
            own = whole.relative_to(Path.cwd())
            listing = self._listings.get(own)
            if listing is None:
                listing = self._listings[own] = _pushed(own)
            named = listing.get((own / item).as_posix()) if isinstance(item, str) else None
            found += [named] if named else listing.values()
        return found


def _pushed(path: Path) -> dict[str, File]:
    """What lies at or below a path, by name, once DVC's remote has it."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc_data.hashfile.build import build
    from dvc_data.hashfile.transfer import transfer
    from dvc_data.hashfile.tree import Tree

    try:
        with Repo() as repo:
            if not repo.config["core"].get("remote"):
                raise ClusterError(
                    f"{VARIABLE}: a node does not share the folder {Path.cwd()}, and there is no DVC remote to send "
                    f"{path} there; run `dvc remote add --default NAME URL`, or let all nodes share the folder"
                )
            remote = repo.cloud.get_remote_odb()
            staged, meta, content = build(repo.cache.local, str(path.absolute()), repo.fs, "md5", ignore=repo.dvcignore)
            result = transfer(staged, remote, {content.hash_info}, shallow=False)
    except (DvcException, OSError) as error:
        raise ClusterError(f"{path} cannot be pushed to DVC's remote: {_line(error)}") from None
    if result.failed:
        raise ClusterError(f"{path}: {len(result.failed)} files could not be pushed to DVC's remote")
    if not meta.isdir:
        return {path.as_posix(): File(path.as_posix(), str(content.hash_info.value))}
    assert isinstance(content, Tree)
    named = ((path.joinpath(*key).as_posix(), str(hash_info.value)) for key, _, hash_info in content)
    return {name: File(name, md5) for name, md5 in named}


def dvc_config() -> bytes:
    """The configuration of DVC's default remote, with its secrets, for a checkout without git."""
    from configobj import ConfigObj
    from dvc.config import Config

    written = ConfigObj({"core": {"no_scm": "true", "analytics": "false", "check_update": "false"}})
    if Path(".dvc").is_dir():
        config = Config(dvc_dir=str(Path(".dvc").absolute()))
        if name := config["core"].get("remote"):
            written["core"]["remote"] = name
            written[f'remote "{name}"'] = {key: str(value) for key, value in config["remote"][name].items()}
    return "\n".join(written.write()).encode()


def stage_files(name: str) -> tuple[list[Path], list[Path]]:
    """What a stage of dvc.yaml reads beside code, params and pins, and what it writes: paths in this folder."""
    with _stage(name) as stage:
        reads = [Path(dep.def_path) for dep in stage.deps if not hasattr(dep, "read_params")]
        writes = [Path(out.def_path) for out in stage.outs]
    return [path for path in reads if path.parts[0] not in ("stages", "sources")], writes


def stage_gpus() -> float:
    """`num_gpus` under `meta` of the stage that this process runs: the share of a GPU for each item; 0 for no stage."""
    name = running_stage()
    if name is None:
        return 0.0
    with _stage(name) as stage:
        share = (stage.meta or {}).get("num_gpus", 0)
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
        raise ClusterError(f"dvc.yaml: {name}: meta.num_gpus: found {share!r}; allowed: 0 to 1")
    return float(share)


@contextmanager
def _stage(name: str) -> Iterator[Any]:
    """DVC's own object of a stage. Raises ClusterError where dvc.yaml has none."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            yield repo.stage.load_one(path="dvc.yaml", name=name)
    except DvcException as error:
        raise ClusterError(f"dvc.yaml: {name}: {_line(error)}") from None


def fetch(base: Path, files: Sequence[File]) -> None:
    """See to it that files lie where the present folder should have them. `base`: of this node, for all runs.

    Raises RuntimeError, a line for a person, where the remote does not have one, or not as its md5 says.
    """
    missing = [file for file in files if not Path(file.path).exists()]
    if not missing:
        return
    store = base / "files"
    store.mkdir(exist_ok=True)
    # Whoever needs the same files waits; others fetch theirs meanwhile.
    with (store / f"lock.{missing[0].md5[:2]}").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        absent = {file.md5: file for file in missing if not _stored(store, file.md5).is_file()}
        if absent:
            _download(store, list(absent.values()))
        for file in missing:
            _lay(_stored(store, file.md5), Path(file.path))
    delete_least_used(store.glob("??/*"), MAX_BYTES)


def _stored(store: Path, md5: str) -> Path:
    return store / md5[:2] / md5[2:]


def _download(store: Path, files: Sequence[File]) -> None:
    """Fetch files, each under its md5. One that is whole stays, whatever becomes of the others."""
    temporary = {file: store / f"{file.md5}.{uuid.uuid4().hex}.partial" for file in files}
    where = f"node {socket.gethostname()}"
    try:
        for attempt in range(1, _TRIES + 1):
            try:
                remote = _remote()
                places = [remote.oid_to_path(file.md5) for file in files]
                remote.fs.get(places, [str(path) for path in temporary.values()])
                break
            except Exception as error:  # of whatever library is behind the remote
                if attempt == _TRIES or isinstance(error, FileNotFoundError):
                    raise RuntimeError(
                        f"{where}: {files[0].path} and {len(files) - 1} more cannot be fetched from DVC's remote: "
                        f"{_line(error)}"
                    ) from None
                time.sleep(_WAIT * attempt)
        for file, path in temporary.items():
            with path.open("rb") as content:
                found = hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
            if found != file.md5:
                raise RuntimeError(
                    f"{where}: {file.path}: DVC's remote has a file with md5 {found} under the md5 {file.md5}"
                )
            final = _stored(store, file.md5)
            final.parent.mkdir(exist_ok=True)
            path.chmod(0o444)  # a stage that wrote to its input would change other runs'
            path.replace(final)
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)


@cache
def _remote() -> Any:
    """DVC's remote, as the present folder's configuration has it."""
    from dvc.repo import Repo

    return Repo().cloud.get_remote_odb()


def _lay(stored: Path, path: Path) -> None:
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    os.utime(stored)  # it is used
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        temporary.hardlink_to(stored)
    except OSError:  # a file system without links
        shutil.copyfile(stored, temporary)
    temporary.replace(path)
    with suppress(FileNotFoundError):  # two links to one file: to rename the one to the other does nothing
        temporary.unlink()


def _line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
