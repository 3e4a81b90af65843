"""Raw clips into a folder: the sample, UCF-101 from its host or a mirror, or any folder or archive of clips.

- `clips/CLASS/…/clip.ext`: every clip at any depth, as it lay at its source, from an archive with the folders around
- `ucfTrainTestlist/*.txt`: the official split lists, where the source is UCF-101
- `left_out.json`: the names of what was not fetched and why, where there is anything
- `downloads.json`: what was fetched from where, where anything was
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from ....archives import check_can_unpack, extract
from ....data.files import write_json
from ....fetch import Request, fetch_all, file_name, join_url, redacted
from ..data.layout import CLIPS, LEFT_OUT, LISTS, Place, places_of, read_list
from ..params import SourceParams
from .sample import write_sample
from .tree import clips_below

MANIFEST = Path(__file__).parent.with_name("manifest.yaml")
ARCHIVES = (".rar", ".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
RECORD = "downloads.json"
MAX_FILES = 1_000_000


def download(params: SourceParams, folder: Path) -> None:
    """Write the clips that `source` asks for into the empty `folder`.

    An address that ends like an archive is one; any other is a folder. Raises ValueError where the source holds no
    clip, or none of a class that is asked for.
    """
    if params.kind == "sample":
        write_sample(folder / CLIPS, clips_per_class=params.clips_per_class, seed=params.seed)
        return
    ucf101 = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))["ucf101"]
    url = params.url or join_url(ucf101["url"], ucf101["archive"])
    known = ucf101 if params.kind == "ucf101" else None
    write = _from_archive if redacted(url).lower().endswith(ARCHIVES) else _from_tree
    clips = write(url, known, params, folder)
    classes = {place.label for place in _places(url, clips, params).values()} - {""}
    missing = sorted(set(params.classes) - classes)
    if missing or not classes:
        found = ", ".join(sorted(classes)[:5]) + (f" and {len(classes) - 5} more" if len(classes) > 5 else "")
        seen = f"; {len(clips)} files lie in no folder, such as {clips[0]}" if clips and not classes else ""
        raise ValueError(f"{url}: no clips of {', '.join(missing) or 'any class'}; found are {found or 'none'}{seen}")


def _places(url: str, clips: Iterable[str], params: SourceParams) -> dict[str, Place]:
    try:
        return places_of(clips, params.classes)
    except ValueError as error:
        raise ValueError(f"{url}: {error}") from None


def _from_archive(url: str, ucf101: dict[str, Any] | None, params: SourceParams, folder: Path) -> list[str]:
    """Fetch and unpack an archive; UCF-101's lists lie in a second one beside it. Returns the clips."""
    archive = folder / file_name(url)
    requests = [Request(url=url, target=archive)]
    if ucf101:
        check_can_unpack(archive.name)  # seven gigabytes are not fetched in vain
        lists = ucf101["lists"]
        official = url.startswith(ucf101["url"])  # a mirror may have packed the lists anew
        requests.append(
            Request(
                url=join_url(url.rpartition("/")[0], lists["archive"]),
                target=folder / lists["archive"],
                size=lists["size"] if official else None,
                sha256=lists["sha256"] if official else None,
            )
        )
    fetch_all(requests, folder / RECORD)
    bounds = {"max_bytes": round(params.max_gigabytes * 1e9), "max_files": MAX_FILES}
    chosen = set(params.classes)
    files = extract(
        archive,
        folder / CLIPS,
        wanted=lambda name: not params.classes or not chosen.isdisjoint(name.split("/")[:-1]),
        **bounds,
    )
    if ucf101:
        extract(requests[1].target, folder, wanted=lambda name: name.startswith(f"{LISTS}/"), **bounds)
    for request in requests:
        request.target.unlink()
    clips = [clip.relative_to(folder / CLIPS).as_posix() for clip in files]
    if not params.classes:
        return clips
    places = _places(url, clips, params)  # a class may have a folder that is called like another one
    for clip in clips:
        if places[clip].label not in chosen:
            (folder / CLIPS / clip).unlink()
    return [clip for clip in clips if places[clip].label in chosen]


def _from_tree(url: str, ucf101: dict[str, Any] | None, params: SourceParams, folder: Path) -> list[str]:
    """Fetch a folder of clips, and UCF-101's lists from the one beside it. Returns the clips."""
    base = url
    if ucf101:
        tree = ucf101["tree"]
        requests = [
            Request(url=join_url(url, tree["lists"], name), target=folder / LISTS / name) for name in tree["files"]
        ]
        fetch_all(requests, folder / RECORD)
        base = join_url(url, tree["clips"])
    tree = clips_below(base, params.classes, max_files=MAX_FILES)
    places = _places(url, tree.clips, params)
    clips = {c: url for c, url in tree.clips.items() if not params.classes or places[c].label in params.classes}
    if ucf101 and not clips:
        # The host lists no folders. Each of the three official splits names every clip; the first will do.
        named = [clip for split in ("train", "test") for clip in read_list(folder / LISTS / f"{split}list01.txt")]
        asked_for = [c for c in named if not params.classes or c.split("/")[0] in params.classes]
        clips = {c: join_url(base, c) for c in asked_for}
    fetch_all([Request(url=clips[name], target=folder / CLIPS / name) for name in sorted(clips)], folder / RECORD)
    if tree.left_out:
        write_json(folder / LEFT_OUT, tree.left_out)
    # Where there is none of the classes asked for, the error says which there are.
    return [*(clips or tree.clips), *(name for name in tree.left_out if "/" not in name)]
