"""Where DVC keeps files by their md5: its cache, and its default remote."""

from __future__ import annotations

from functools import cache
from pathlib import Path


def cache_folder() -> Path:
    """Where DVC's cache of this checkout keeps its files. Raises RuntimeError where DVC does not say."""
    found = cache_folder_or_none()
    if found is None:
        raise RuntimeError(f"{Path.cwd()}: not a DVC project, so there is no cache; run from the project's folder")
    return found


def cache_folder_or_none() -> Path | None:
    """The same; None where there is no DVC."""
    folder = Path(".dvc").absolute()
    return _files_of(folder) if folder.is_dir() else None


@cache
def _files_of(folder: Path) -> Path:
    """Of the checkout whose `.dvc` this is."""
    from dvc.config import Config, ConfigError  # 0.5 s: only where a file is not nearer

    try:
        named = Config(dvc_dir=str(folder))["cache"].get("dir")
    except ConfigError as error:
        raise RuntimeError(f"{folder}: {error}") from None
    return Path(named or folder / "cache") / "files" / "md5"


def cache_path(cache: Path, md5: str) -> Path:
    """The file of DVC's cache that has this md5."""
    return cache / md5[:2] / md5[2:]


def read_from_remote(md5: str) -> bytes | None:
    """The file that has this md5 by its name in DVC's default remote, which nobody has checked; None where there is no
    such file or no such remote. Raises whatever the library behind the remote does where it cannot be reached.
    """
    from dvc.repo import Repo  # 1 s: only where no cache has the file

    with Repo() as repo:
        if not repo.config["core"].get("remote"):
            return None
        remote = repo.cloud.get_remote_odb()  # beyond DVC's documented API; tried with 3.67.1
        try:
            return bytes(remote.fs.cat_file(remote.oid_to_path(md5)))
        except FileNotFoundError:
            return None
