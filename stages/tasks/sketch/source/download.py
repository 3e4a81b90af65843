"""Drawings to learn from: Quick, Draw!'s files from a host, or doodles drawn here."""

from __future__ import annotations

from pathlib import Path

import yaml

from ....data.text import is_packed
from ....fetch import Request, join_url
from ....fetch.host import PRESENT, Host
from ....sources.additional import additional_requests
from ....sources.records import Records
from ..data.quickdraw import SUFFIXES
from ..params import Params, SourceParams

MANIFEST = Path(__file__).parent.with_name("manifest.yaml")


def download(params: SourceParams, folder: Path, host: Host = PRESENT) -> None:
    """Write `FORM/CATEGORY.ndjson` and `FORM/CATEGORY.npz` into `folder`.

    Raises DownloadError where a file cannot be had, ValueError where its first lines cannot.
    """
    if params.kind == "sample":
        from .sample import write_sample

        write_sample(folder / "simplified", per_category=params.per_category, seed=params.seed)
    wanted = requests(params, folder, host)
    if wanted:
        host.fetch(wanted, folder / "downloads.json")
    for request in wanted:
        if request.lines and is_packed(request.target):
            found = f"found {request.target.name} compressed with gzip, whose lines cannot be counted"
            raise ValueError(f"source.per_category: {found}; allowed for such files: 0, which takes all drawings")


def requests(params: SourceParams, folder: Path, host: Host = PRESENT) -> list[Request]:
    """One request a category, of an ndjson file only for the first `per_category` lines, unless that is 0; and one for
    each file of drawings that `also` names.
    """
    own = [] if params.kind == "sample" else _categories(params, folder)
    further = additional_requests(params, folder, host, endings=(".ndjson",), takes=_is_of_drawings)
    return [*own, *further]


def _is_of_drawings(name: str) -> bool:
    return "/" not in name and name.endswith(".ndjson")


def _categories(params: SourceParams, folder: Path) -> list[Request]:
    quickdraw = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))["quickdraw"]
    wanted = []
    for category, form in sorted(params.categories.items()):
        url = join_url(params.url or quickdraw["url"], *quickdraw["layout"][form].format(category=category).split("/"))
        lines = None if form == "sketchrnn" else params.per_category or None
        wanted.append(Request(url=url, target=folder / form / f"{category}{SUFFIXES[form]}", lines=lines))
    return wanted


def records(params: Params, name: str) -> Records | None:
    """A drawing a line, known by its key_id; those of an npz file have no names."""
    return None if name.endswith(".npz") else Records(form="ndjson", key=("key_id",))
