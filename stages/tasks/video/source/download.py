"""Raw clips into a folder: the sample, UCF-101 from its host or a mirror, or any folder or archive of clips.

- `clips/CLASS/…/clip.ext`: every clip at any depth, as it lay at its source, from an archive with the folders around
- `also/…/CLASS/…/clip.ext`: the clips that `source.also` names (`data/additional.py`)
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
from ....fetch import Request, file_name, join_url, redacted
from ....fetch.host import PRESENT, Host
from ....fetch.tree import Tree
from ....sources.additional import OTHER, additional_requests
from ....sources.records import Records
from ..data.layout import CLIPS, LEFT_OUT, LISTS, Place, places_of, read_list
from ..params import Params, SourceParams
from .sample import write_sample

MANIFEST = Path(__file__).parent.with_name("manifest.yaml")
ARCHIVES = (".rar", ".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
RECORD = "downloads.json"
MAX_FILES = 1_000_000


def download(params: SourceParams, folder: Path, host: Host = PRESENT) -> None:
    """Write the clips that `source` asks for into the empty `folder`.

    An address that ends like an archive is one; any other is a folder. Raises ValueError where the source holds no
    clip, or none of a class that is asked for.
    """
    if params.kind == "sample":
        write_sample(folder / CLIPS, clips_per_class=params.clips_per_class, seed=params.seed)
    else:
        write = _from_archive if _is_archive(params) else _from_tree
        _check_classes(_url(params), write(params, folder, host), params)
    if further := _additional(params, folder, host):
        host.fetch(further, folder / RECORD)


def requests(params: SourceParams, folder: Path, host: Host = PRESENT) -> list[Request]:
    """The archive, with UCF-101 that of its lists; or each clip of a folder, with UCF-101 the lists beside them. Then
    each clip that `also` names.

    Raises ValueError as `download` does.
    """
    return [*_own(params, folder, host), *_additional(params, folder, host)]


def _additional(params: SourceParams, folder: Path, host: Host) -> list[Request]:
    return additional_requests(params, folder, host, endings=(), takes=_is_of_clips)


def _is_of_clips(name: str) -> bool:
    """CLASS/clip.ext at any depth; of the folder `other` only what lies right in it, a class of that name: what lies
    deeper there is of unknown labels.
    """
    return "/" in name and not (name.startswith(f"{OTHER}/") and name.count("/") > 1)


def _own(params: SourceParams, folder: Path, host: Host) -> list[Request]:
    if params.kind == "sample":
        return []
    if _is_archive(params):
        return _archives(params, folder)
    lists, _, clips = _tree(params, folder, host)
    _check_classes(_url(params), [request.target.relative_to(folder / CLIPS).as_posix() for request in clips], params)
    return [*lists, *clips]


def records(params: Params, name: str) -> Records | None:
    """None: clips and archives are compared as a whole."""
    return None


def _manifest() -> dict[str, Any]:
    ucf101: dict[str, Any] = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))["ucf101"]
    return ucf101


def _url(params: SourceParams) -> str:
    ucf101 = _manifest()
    return params.url or join_url(ucf101["url"], ucf101["archive"])


def _is_archive(params: SourceParams) -> bool:
    return redacted(_url(params)).lower().endswith(ARCHIVES)


def _check_classes(url: str, clips: list[str], params: SourceParams) -> None:
    classes = {place.label for place in _places(url, clips, params).values()} - {""}
    missing = sorted(set(params.classes) - classes)
    if missing or not classes:
        found = ", ".join(sorted(classes)[:5]) + (f" and {len(classes) - 5} more" if len(classes) > 5 else "")
        seen = f"; {len(clips)} files lie in no folder, such as {clips[0]}" if clips and not classes else ""
        raise ValueError(f"{url}: no clips of {', '.join(missing) or 'any class'}; found: {found or 'none'}{seen}")


def _places(url: str, clips: Iterable[str], params: SourceParams) -> dict[str, Place]:
    try:
        return places_of(clips, params.classes)
    except ValueError as error:
        raise ValueError(f"{url}: {error}") from None


def _archives(params: SourceParams, folder: Path) -> list[Request]:
    """The archive of clips; UCF-101's lists lie in a second one beside it."""
    url, ucf101 = _url(params), _manifest()
    archives = [Request(url=url, target=folder / file_name(url))]
    if params.kind == "ucf101":
        check_can_unpack(archives[0].target.name)  # seven gigabytes are not fetched in vain
        lists = ucf101["lists"]
        official = url.startswith(ucf101["url"])  # a mirror may have packed the lists anew
        archives.append(
            Request(
                url=join_url(url.rpartition("/")[0], lists["archive"]),
                target=folder / lists["archive"],
                size=lists["size"] if official else None,
                sha256=lists["sha256"] if official else None,
            )
        )
    return archives


def _from_archive(params: SourceParams, folder: Path, host: Host) -> list[str]:
    """Fetch and unpack an archive, with UCF-101 that of its lists. Returns the clips."""
    wanted = _archives(params, folder)
    host.fetch(wanted, folder / RECORD)
    archive, *lists = [request.target for request in wanted]
    bounds = {"max_bytes": round(params.max_gigabytes * 1e9), "max_files": MAX_FILES}
    chosen = set(params.classes)
    files = extract(
        archive,
        folder / CLIPS,
        wanted=lambda name: not params.classes or not chosen.isdisjoint(name.split("/")[:-1]),
        **bounds,
    )
    for path in lists:
        extract(path, folder, wanted=lambda name: name.startswith(f"{LISTS}/"), **bounds)
    for path in (archive, *lists):
        path.unlink()
    clips = [clip.relative_to(folder / CLIPS).as_posix() for clip in files]
    if not params.classes:
        return clips
    places = _places(_url(params), clips, params)  # a class may have a folder that is called like another one
    for clip in clips:
        if places[clip].label not in chosen:
            (folder / CLIPS / clip).unlink()
    return [clip for clip in clips if places[clip].label in chosen]


def _from_tree(params: SourceParams, folder: Path, host: Host) -> list[str]:
    """Fetch a folder of clips, and UCF-101's lists from the one beside it. Returns the clips."""
    lists, tree, clips = _tree(params, folder, host)
    host.fetch([r for r in (*lists, *clips) if not r.target.exists()], folder / RECORD)
    if tree.left_out:
        write_json(folder / LEFT_OUT, tree.left_out)
    names = [request.target.relative_to(folder / CLIPS).as_posix() for request in clips]
    # Where there is none of the classes asked for, the error says which there are.
    return [*(names or tree.files), *(name for name in tree.left_out if "/" not in name)]


def _tree(params: SourceParams, folder: Path, host: Host) -> tuple[list[Request], Tree, list[Request]]:
    """UCF-101's lists, what lies in the folder of clips, and the clips that are wanted of it."""
    base, ucf101 = _url(params), _manifest()["tree"]
    lists: list[Request] = []
    if params.kind == "ucf101":
        lists = [
            Request(url=join_url(base, ucf101["lists"], name), target=folder / LISTS / name) for name in ucf101["files"]
        ]
        base = join_url(base, ucf101["clips"])
    tree = host.tree(base, params.classes, below=CLIPS, max_files=MAX_FILES)
    places = _places(_url(params), tree.files, params)
    clips = {c: url for c, url in tree.files.items() if not params.classes or places[c].label in params.classes}
    if lists and not clips:
        # The host lists no folders. Each of the three official splits names every clip; the first will do.
        host.fetch(lists, folder / RECORD)
        named = [clip for split in ("train", "test") for clip in read_list(folder / LISTS / f"{split}list01.txt")]
        asked_for = [c for c in named if not params.classes or c.split("/")[0] in params.classes]
        clips = {c: join_url(base, c) for c in asked_for}
    wanted = [
        Request(url=clips[name], target=folder / CLIPS / name, stated=tree.stated.get(name)) for name in sorted(clips)
    ]
    return lists, tree, wanted
