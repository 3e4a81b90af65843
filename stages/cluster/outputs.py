"""What a stage writes on a node that does not share the sender's folder: an archive, sent in pieces."""

from __future__ import annotations

import shutil
import tarfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from types import TracebackType

from ..data.files import fresh_folder

_PIECE = 4 * 2**20  # bytes
_POLL = 0.1  # seconds until a piece that was not taken is offered again


def send(paths: Sequence[Path], offer: Callable[[int, bytes], bool]) -> None:
    """Send files and folders of the present folder. `offer` takes a piece by its offset; False asks for it later."""
    with TemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            for path in paths:
                if path.exists():
                    archive.add(path, path.as_posix())
        file.seek(0)
        while piece := file.read(_PIECE):
            while not offer(file.tell() - len(piece), piece):
                time.sleep(_POLL)


class Received:
    """The receiving end, a context. A piece may come twice: from a rank that was started again."""

    def __init__(self) -> None:
        self._file = TemporaryFile()  # noqa: SIM115
        self._size = 0

    def __enter__(self) -> Received:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, offset: int, piece: bytes) -> None:
        """Take a piece; the first one of an archive takes the place of all before."""
        if not offset:
            self._file.truncate(0)
        self._file.seek(offset)
        self._file.write(piece)
        self._size = offset + len(piece)

    def lay(self) -> None:
        """Put what has come in its place in the present folder; nothing, where nothing has."""
        if not self._size:
            return
        self._file.seek(0)
        with TemporaryDirectory(prefix="unroll-ray-") as folder, tarfile.open(fileobj=self._file) as archive:
            names = [member.name for member in archive.getmembers()]
            archive.extractall(folder, filter="data")
            for name in _topmost(names):
                _lay(Path(folder, name), Path(name))


def _topmost(names: Sequence[str]) -> list[str]:
    """Those that lie below no other."""
    known = set(names)
    return [name for name in names if not any(str(parent) in known for parent in Path(name).parents)]


def _lay(source: Path, target: Path) -> None:
    if source.is_dir():
        with fresh_folder(target) as new:
            shutil.copytree(source, new, dirs_exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.partial")
        shutil.copyfile(source, temporary)
        temporary.replace(target)
