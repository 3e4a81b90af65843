"""Where work goes on that is sent to a node: in the sender's folder where the node reaches it by the same path, else in
one of the node's own, to which the code, the params and the data are brought.

    NODE_FOLDER/code/SHA256/     the code, as long as some run on the node used it lately
    NODE_FOLDER/files/…          data by md5, the least recently used go
    NODE_FOLDER/runs/RUN/        a checkout without code: params.yaml, dvc.lock, …, data; the next run removes it
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import pickle
import shutil
import subprocess
import tarfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path, PurePath
from typing import IO, Any

from ..paths import delete_older, resume_address, resume_folder
from . import arrival
from .arrival import NODE_FOLDER, Place, node_folder
from .connection import VARIABLE, ClusterError, forwarded
from .remote import dvc_config

_PAPERS = ("params.yaml", "dvc.yaml", "dvc.lock", ".dvcignore", "sources")
_RUN_TAGS = "UNROLL_RUN_TAGS"  # stages.tracking adds them to a run; there is no commit to ask for on a node
_NOT_DIRTY = ("--", ".", ":(exclude)dvc.lock", ":(exclude)sources/*.json")  # as stages.tracking has it
_KEPT_CODES = 5
_MARKERS = f"cluster.{'[0-9a-f]' * 32}"
_MARKER_SECONDS = 24 * 3600
_TOUCH_SECONDS = 600


@contextmanager
def opened(ray: Any) -> Iterator[Place]:
    """The present folder, to be entered by processes of any node inside the block.

    Where a node does not share it, what such nodes need travels with the work.
    """
    name = f"cluster.{uuid.uuid4().hex}"
    marker, resume_marker = Path.cwd() / ".resume" / name, resume_folder() / name
    place = Place(
        run=name,
        folder=str(Path.cwd()),
        markers=[str(marker)] if resume_address() else [str(marker), str(resume_marker)],
        resume=str(resume_folder()),
        resume_marker=str(resume_marker),
        variable=VARIABLE,
        environment=forwarded() | {"UNROLL_RESUME": resume_address() or str(resume_folder())},
        code=None,
        code_sha256="",
        papers=None,
    )
    markers, over = {marker, resume_marker}, threading.Event()
    try:
        for path in markers:
            _mark(path)
        threading.Thread(target=_keep, args=(markers, over), daemon=True).start()
        if not all(_shared(ray, place)):
            code, sha256 = _code()
            place["code"], place["code_sha256"] = ray.put(code), sha256
            place["papers"] = ray.put(_papers())
            place["environment"][_RUN_TAGS] = _run_tags()
        yield place
    finally:
        over.set()
        for path in markers:
            with suppress(OSError):
                path.unlink()


def _mark(path: Path) -> None:
    """Make a marker, and delete those of runs that were killed: a run that goes on touches its own."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        raise ClusterError(
            f"{path.parent}: {error.strerror}; allowed: a folder that can be written (UNROLL_RESUME): a file in it "
            "shows nodes whether they share it"
        ) from None
    with suppress(OSError):
        delete_older(path.parent.glob(_MARKERS), _MARKER_SECONDS)


def _keep(markers: set[Path], over: threading.Event) -> None:
    """Touch the markers of a run now and then, so that no other run takes it for one that was killed."""
    while not over.wait(_TOUCH_SECONDS):
        for path in markers:
            with suppress(OSError):  # the folder may be away for a moment
                os.utime(path)


def _shared(ray: Any, place: Place) -> list[bool]:
    """Of each living node, whether it shares the place."""
    affinity = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    alive = (affinity(node["NodeID"], soft=True) for node in ray.nodes() if node["Alive"])
    options = ({"num_cpus": 0, "scheduling_strategy": each} for each in alive)
    found: list[bool] = ray.get([ray.remote(**each)(arrival.shares).remote(*place["markers"]) for each in options])
    return found


def _archive(root: Path, names: list[str], further: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as archive:
        for name in names:
            archive.add(root / name, name)
        for name, content in further.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o600
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def _code() -> tuple[bytes, str]:
    """An archive of the code that runs here, and a sha256 of the files in it."""
    root = Path(__file__).resolve().parents[2]
    files = sorted(path for path in (root / "stages").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    digest = hashlib.sha256()
    for path in files:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode() + content)
    return _archive(root, [path.relative_to(root).as_posix() for path in files], {}), digest.hexdigest()


def _papers() -> bytes:
    """An archive of what a stage reads of a checkout beside code and data, with the remote's configuration."""
    names = [name for name in _PAPERS if Path(name).exists()]
    return _archive(Path.cwd(), names, {".dvc/config": dvc_config()})


def _run_tags() -> str:
    import json

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False).stdout.strip()

    own = {"unroll.git_commit": git("rev-parse", "HEAD") or "none"}
    own["unroll.git_dirty"] = str(bool(git("status", "--porcelain", *_NOT_DIRTY))).lower()
    return json.dumps({**own, **json.loads(os.environ.get(_RUN_TAGS, "{}"))})


# On a node.

_roots: list[tuple[Path, Path]] = []  # where paths of the sender lie here, the deepest first
_held: dict[Path, IO[bytes]] = {}  # the runs that this process works on


def enter(place: Place) -> bool:
    """Go on in this place; whether it is the sender's own folder."""
    own = arrival.shares(*place["markers"])
    os.environ.pop(place["variable"], None)
    kept = os.environ.get(NODE_FOLDER)
    os.environ.update(place["environment"])
    if kept:
        os.environ[NODE_FOLDER] = kept
    if own:
        os.chdir(place["folder"])
        _roots.clear()
        return True
    folder = _run_folder(place)
    _roots[:] = [(Path(place["folder"]), folder)]
    os.environ["DVC_SITE_CACHE_DIR"] = str(folder / ".dvc" / "site")
    if not arrival.shares(place["resume_marker"]):
        _roots.insert(0, (Path(place["resume"]), folder / "resume" / str(os.getpid())))
        if resume_address() is None:
            os.environ["UNROLL_RESUME"] = str(_roots[0][1])
    os.chdir(folder)
    return False


def own_resume() -> Path | None:
    """The resume folder that this process has for itself alone, on a node that does not see the sender's."""
    return _roots[0][1] if len(_roots) > 1 else None


def _run_folder(place: Place) -> Path:
    """The folder of a run on this node. The first process of a run makes it, and removes those that are over."""
    base = node_folder(place)
    folder = base / "runs" / place["run"]
    if folder in _held:
        return folder
    import ray

    folder.parent.mkdir(exist_ok=True)
    with (base / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for other in folder.parent.iterdir():
            if other != folder:
                _remove_if_over(other)
        _keep_newest(base / "code")
        ready = folder / ".ready"
        if not ready.is_file():
            folder.mkdir(exist_ok=True)
            with tarfile.open(fileobj=io.BytesIO(ray.get(place["papers"]))) as archive:
                archive.extractall(folder, filter="data")
            ready.touch()
        _held[folder] = ready.open("rb")
        fcntl.flock(_held[folder], fcntl.LOCK_SH)  # the kernel lifts it with the process, however it ends
    return folder


def _remove_if_over(run: Path) -> None:
    with suppress(OSError):
        if (run / ".ready").is_file():
            with (run / ".ready").open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(run)


def _keep_newest(codes: Path) -> None:
    own = Path(__file__).resolve().parents[2]
    with suppress(OSError):
        os.utime(own)
        found = sorted((path for path in codes.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
        for old in found[:-_KEPT_CODES]:
            shutil.rmtree(old, ignore_errors=True)


# What is sent: paths in it are told, and lie elsewhere on a node that has a folder of its own.


def packed(value: Any) -> tuple[bytes, list[Path]]:
    """A value, pickled, and the paths in it."""
    stream = io.BytesIO()
    pickler = _pickler()(stream)
    pickler.dump(value)
    return stream.getvalue(), pickler.paths


@cache
def _pickler() -> Any:
    from ray import cloudpickle

    class Pickler(cloudpickle.CloudPickler):
        def __init__(self, stream: io.BytesIO) -> None:
            super().__init__(stream, protocol=pickle.HIGHEST_PROTOCOL)
            self.paths: list[Path] = []

        def reducer_override(self, value: Any) -> Any:
            if isinstance(value, Path):
                self.paths.append(value)
                return path_here, (str(value),)
            return super().reducer_override(value)

    return Pickler


def path_here(text: str) -> PurePath:
    """A path of the sender's, as this node has it."""
    path = Path(text)
    for root, here in _roots:
        if path.is_relative_to(root):
            return here / path.relative_to(root)
    return path


def unpacked(content: bytes) -> Any:
    """A value that was `packed` by another process, whose code is trusted as our own is."""
    return pickle.loads(content)
