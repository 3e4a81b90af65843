"""What a process on a node does first. It is sent by value, since the node may have none of our code: all else that it
needs is imported by its name once the code is there, and stands above this file.
"""

from __future__ import annotations

import fcntl
import importlib
import io
import os
import socket
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any, TypedDict

NODE_FOLDER = "UNROLL_NODE_FOLDER"  # of a node, or else of who sends


class Place(TypedDict):
    """The folder and environment of who sends work, in which any node goes on."""

    run: str  # a name of its own
    folder: str
    markers: list[str]  # files that are there as long as the work goes on: who sees them sees these very folders
    resume: str  # where states and parts are kept, a path
    resume_marker: str
    variable: str  # that names the cluster: what runs on a node does its work there
    environment: dict[str, str]
    code: Any  # a reference to an archive of `stages/`; None where all nodes share the folder
    code_sha256: str
    papers: Any  # to one of what else of the folder a stage reads, but data


def shares(*markers: str) -> bool:
    """Whether this node sees files of who asks."""
    return all(Path(marker).is_file() for marker in markers)


def run_item(place: Place, function: bytes, item: bytes) -> Any:
    """Work on an item of `mapping.ordered_map`."""
    _bring_code(place)
    return importlib.import_module(".mapping", __package__).work_on(place, function, item)


def run_rank(config: dict[str, Any]) -> int:
    """Be one of the ranks of `ranks.run`."""
    _bring_code(config["place"])
    ended: int = importlib.import_module(".ranks", __package__).as_rank(config)
    return ended


class Mailbox:
    """What the process that started ranks and the ranks tell each other, wherever they are."""

    _MOST = 8  # pieces of outputs that wait here

    def __init__(self) -> None:
        self._stop = False
        self._message: str | None = None
        self._printed: list[tuple[str, str]] = []
        self._pieces: list[tuple[int, bytes]] = []

    def ask_to_stop(self) -> None:
        """Of who started the ranks."""
        self._stop = True

    def stop_requested(self) -> bool:
        """Whether they are asked to."""
        return self._stop

    def tell(self, message: str) -> None:
        """Of a rank: what would come again if it were started again."""
        self._message = self._message or message

    def print(self, stream: str, text: str) -> None:
        """Of a rank: what it has printed."""
        self._printed.append((stream, text))

    def offer(self, offset: int, piece: bytes) -> bool:
        """Of a rank: a piece of the archive of its outputs; False where too many wait to be fetched."""
        if len(self._pieces) >= self._MOST:
            return False
        self._pieces.append((offset, piece))
        return True

    def news(self) -> tuple[list[tuple[str, str]], list[tuple[int, bytes]], str | None]:
        """What was printed and offered since the last call, and what would come again."""
        printed, self._printed = self._printed, []
        pieces, self._pieces = self._pieces, []
        return printed, pieces, self._message


def node_folder(place: Place) -> Path:
    """The folder of a node for what is brought to it: UNROLL_NODE_FOLDER, of the node or else of who sends, or one
    below the system's for temporary files. Raises RuntimeError where it is another user's.
    """
    named = os.environ.get(NODE_FOLDER) or place["environment"].get(NODE_FOLDER)
    folder = Path(named) if named else Path(tempfile.gettempdir(), f"unroll-{os.getuid()}")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise RuntimeError(
            f"node {socket.gethostname()}: {folder} belongs to another user; set {NODE_FOLDER} to another folder"
        )
    return folder


def _bring_code(place: Place) -> None:
    """See to it that `stages` can be imported. Raises RuntimeError on a node that nothing was brought for."""
    if shares(*place["markers"]):
        folder = place["folder"]
    elif place["code"] is None:
        raise RuntimeError(
            f"node {socket.gethostname()} joined the cluster after this run started and does not share the folder "
            f"{place['folder']}, as the other nodes do"
        )
    else:
        folder = str(_unpacked(place))
    if folder not in sys.path:
        sys.path.insert(0, folder)


def _unpacked(place: Place) -> Path:
    """The code's folder on this node, which other runs of the same code use, too."""
    codes = node_folder(place) / "code"
    folder = codes / place["code_sha256"]
    if folder.is_dir():
        return folder
    import ray

    codes.mkdir(exist_ok=True)
    with (codes / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=codes) as new:
                with tarfile.open(fileobj=io.BytesIO(ray.get(place["code"]))) as archive:
                    archive.extractall(new, filter="data")
                Path(new).rename(folder)
                Path(new).mkdir()  # for TemporaryDirectory to remove
    return folder
