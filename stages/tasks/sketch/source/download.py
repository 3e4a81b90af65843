"""Drawings to learn from: Quick, Draw!'s files from a host, or doodles drawn here."""

from __future__ import annotations

from pathlib import Path

import yaml

from ....fetch import Request, fetch_all, join_url
from ..data.quickdraw import SUFFIXES
from ..params import SourceParams

MANIFEST = Path(__file__).parent.with_name("manifest.yaml")


def download(params: SourceParams, folder: Path) -> None:
    """Write `FORM/CATEGORY.ndjson` and `FORM/CATEGORY.npz` into `folder`.

    Raises DownloadError where a file cannot be had.
    """
    if params.kind == "sample":
        from .sample import write_sample

        write_sample(folder / "simplified", per_category=params.per_category, seed=params.seed)
    else:
        fetch_all(requests(params, folder), folder / "downloads.json")


def requests(params: SourceParams, folder: Path) -> list[Request]:
    """One request a category; of an ndjson file only the first `per_category` lines, unless that is 0."""
    host = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))["quickdraw"]
    wanted = []
    for category, form in sorted(params.categories.items()):
        url = join_url(params.url or host["url"], *host["layout"][form].format(category=category).split("/"))
        lines = None if form == "sketchrnn" else params.per_category or None
        wanted.append(Request(url=url, target=folder / form / f"{category}{SUFFIXES[form]}", lines=lines))
    return wanted
