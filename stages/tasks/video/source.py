"""Raw clips into a folder: the sample, UCF-101 from its host or a mirror, or any folder or archive of clips.

    clips/CLASS/clip.ext     every clip, its class the name of its folder; from an archive, at any depth
    ucfTrainTestlist/*.txt   the official split lists, where the source is UCF-101
    downloads.json           what was fetched from where, where anything was
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ...archives import extract
from ...fetch import Request, fetch_all, join_url
from .layout import CLIPS, LISTS, find_clips, label_of, read_list
from .params import SourceParams
from .sample import write_sample
from .tree import clips_below

MANIFEST = Path(__file__).with_name("manifest.yaml")
ARCHIVES = (".rar", ".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
RECORD = "downloads.json"
MAX_FILES = 1_000_000


def download(params: SourceParams, folder: Path) -> None:
    """Write the clips that `source` asks for into the empty `folder`.

    An address that ends like an archive is one; any other is a folder. Raises ValueError where the source holds no clip, or
    none of a class that is asked for.
    """
    if params.kind == "sample":
        write_sample(folder / CLIPS, clips_per_class=params.clips_per_class, seed=params.seed)
        return
    ucf101 = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))["ucf101"] if params.kind == "ucf101" else None
    url = params.url or join_url(ucf101["url"], ucf101["archive"])
    if url.lower().endswith(ARCHIVES):
        _from_archive(url, ucf101, params, folder)
    else:
        _from_tree(url, ucf101, params, folder)
    found = {label_of(clip) for clip in find_clips(folder / CLIPS)}
    missing = sorted(set(params.classes) - found)
    if missing or not found:
        raise ValueError(f"{url}: no clips of {', '.join(missing) or 'any class'}; found are {_some(found) or 'none'}")


def _from_archive(url: str, ucf101: dict[str, Any] | None, params: SourceParams, folder: Path) -> None:
    archive = folder / url.rpartition("/")[2]
    requests = [Request(url=url, target=archive)]
    if ucf101:  # the lists lie in a second archive beside the first
        lists = ucf101["lists"]
        known = {"size": lists["size"], "sha256": lists["sha256"]} if url.startswith(ucf101["url"]) else {}
        place = join_url(url.rpartition("/")[0], lists["archive"])
        requests.append(Request(url=place, target=folder / lists["archive"], **known))
    fetch_all(requests, folder / RECORD)
    max_bytes = round(params.max_gigabytes * 1e9)
    extract(
        archive,
        folder / CLIPS,
        max_bytes=max_bytes,
        max_files=MAX_FILES,
        wanted=lambda name: not params.classes or label_of(name) in params.classes,
    )
    if ucf101:
        extract(
            requests[1].target,
            folder,
            max_bytes=max_bytes,
            max_files=MAX_FILES,
            wanted=lambda name: name.startswith(f"{LISTS}/") and name.endswith(".txt"),
        )
    for request in requests:
        request.target.unlink()


def _from_tree(url: str, ucf101: dict[str, Any] | None, params: SourceParams, folder: Path) -> None:
    named: list[str] = []
    base = url
    if ucf101:
        tree = ucf101["tree"]
        requests = [
            Request(url=join_url(url, tree["lists"], name), target=folder / LISTS / name) for name in tree["files"]
        ]
        fetch_all(requests, folder / RECORD)
        # Each of the three official splits names every clip; the first will do.
        named = [clip for split in ("train", "test") for clip in read_list(folder / LISTS / f"{split}list01.txt")]
        base = join_url(url, tree["clips"])
    clips = clips_below(base, params.classes, max_files=MAX_FILES)
    if not clips:  # the host lists no folders
        clips = {n: join_url(base, *n.split("/")) for n in named if not params.classes or label_of(n) in params.classes}
    fetch_all([Request(url=clips[name], target=folder / CLIPS / name) for name in sorted(clips)], folder / RECORD)


def _some(classes: set[str]) -> str:
    names = sorted(classes)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
