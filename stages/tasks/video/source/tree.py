"""Listing a folder of clips, `CLASS/clip.ext`: on disk, in a bucket, behind a web server's index pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import fsspec

from ....fetch import check_protocol


def clips_below(url: str, classes: Sequence[str], *, max_files: int) -> dict[str, str]:
    """`CLASS/clip.ext → address` of each file in the class folders below `url`; `classes` limits them, if not empty.

    Empty where there is nothing, or a web server that does not list. Raises ValueError where the place cannot be
    reached and where it holds more than `max_files`.
    """
    check_protocol(url)
    system, root = fsspec.core.url_to_fs(url)
    clips: dict[str, str] = {}
    for label, place in _entries(system, root, "directory").items():
        if classes and label not in classes:
            continue
        for name, path in _entries(system, place, "file").items():
            clips[f"{label}/{name}"] = system.unstrip_protocol(path)
            if len(clips) > max_files:
                raise ValueError(f"{url}: more than {max_files:,} clips; allowed are as many")
    return clips


def _entries(system: Any, place: str, kind: str) -> dict[str, str]:
    """`name → path` of what lies right in a folder, hidden files left out; the names are safe to use as file names."""
    web = urlsplit(place).scheme in ("http", "https")
    place = place.rstrip("/") + "/"
    try:
        listed = system.ls(place, detail=True)
    except FileNotFoundError:
        return {}
    except Exception as error:  # the library behind each protocol has errors of its own
        if getattr(error, "status", None) in (403, 405):  # a web server that shows files and lists none
            return {}
        raise ValueError(f"{place}: cannot be listed: {error or type(error).__name__}") from None
    names = {}
    for entry in listed:
        path = str(entry["name"])
        # A web server's index does not say what is a folder; their links end in a slash, and may lead anywhere.
        actual = "directory" if path.endswith("/") else entry["type"]
        inside = path.startswith(place) or not web
        name = path.rstrip("/").rpartition("/")[2]
        name = unquote(name) if web else name
        if inside and actual == kind and name and not name.startswith(".") and not set(name) & set("/\\?\0"):
            names[name] = path
    return dict(sorted(names.items()))
