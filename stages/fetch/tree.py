"""Listing a folder of files, `FOLDER/…/file.ext`: on disk, in a bucket, behind a web server's index pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from . import check_protocol, decoded
from .remote import VARIABLE, DownloadError, Stated, UnreachableError, redacted, stated_by

_DEEPEST = 16  # folders within each other; a link that leads back to where it stands has no end


@dataclass(slots=True)
class Tree:
    """What lies below an address."""

    files: dict[str, str] = field(default_factory=dict)  # FOLDER/…/file.ext → address
    stated: dict[str, Stated] = field(default_factory=dict)  # what the listing says of a file, by the same name
    left_out: dict[str, str] = field(default_factory=dict)  # name → why it is not fetched


def files_below(url: str, chosen: Sequence[str], *, max_files: int, loose: bool = False) -> Tree:
    """Each file below the folders in `url`, at any depth; of those `chosen` alone, where folders of these names lie
    there. With `loose` also the files that lie in no folder there; without, they are left out.

    Hidden files are passed over, links on a disk are followed. Empty where there is nothing, or a web server that does
    not list. Raises ValueError where the place cannot be reached, holds more than `max_files` or has no end.
    """
    import fsspec

    system, root = fsspec.core.url_to_fs(check_protocol(url))
    system.invalidate_cache()  # a long-lived process may have listed it yesterday
    tree = Tree()
    folders = [("", root)]
    seen = 0
    while folders:
        folder, place = folders.pop()
        if folder.count("/") > _DEEPEST:
            raise ValueError(f"{url}: {folder}: folders nested too deeply; allowed: at most {_DEEPEST} levels")
        entries = list(_entries(system, place))
        asked_for = not folder and any(name in chosen for name, _, _, _ in entries)
        for name, kind, path, info in entries:
            if asked_for and name not in chosen:
                continue
            if kind == "directory":
                folders.append((f"{folder}{name}/", path))
            elif kind != "file":
                tree.left_out[f"{folder}{name}"] = kind
            elif not folder and not loose:
                tree.left_out[name] = "lies in no folder; allowed: FOLDER/file.ext"
            else:
                tree.files[f"{folder}{name}"] = system.unstrip_protocol(path)
                tree.stated[f"{folder}{name}"] = stated_by(info)
        seen += len(entries)
        if len(tree.files) > max_files or seen > 2 * max_files:
            raise ValueError(f"{url}: too many files; allowed: at most {max_files:,}")
    return tree


def _entries(system: Any, place: str) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Name, kind, path and what the listing says of all that lies right in a folder; the kind is `directory`, `file`,
    or why it is neither.
    """
    web = urlsplit(place).scheme in ("http", "https")
    place = place.rstrip("/") + "/"
    try:
        listed = system.ls(place, detail=True)
    except FileNotFoundError:
        return
    except Exception as error:  # the library behind each protocol has errors of its own
        status = getattr(error, "status", None)
        if status in (403, 405):  # a web server that shows files and lists none
            return
        away = status >= 500 if status else web or not isinstance(error, OSError)
        kind = UnreachableError if away else DownloadError
        raise kind(f"{redacted(place)}: cannot be listed: {str(error) or type(error).__name__}") from None
    for entry in listed:
        path = str(entry["name"])
        name = path.rstrip("/").rpartition("/")[2]
        # A web server's links may lead anywhere, and those that sort its index begin with a question mark.
        if path.rstrip("/") == place[:-1] or (web and (not path.startswith(place) or name[:1] in ("?", "#"))):
            continue
        name = decoded(name) if web else name
        if name and not name.startswith("."):
            yield _shown(name), _kind(system, entry, path, name, web=web), path, entry


def _kind(system: Any, entry: dict[str, Any], path: str, name: str, *, web: bool) -> str:
    if set(name) & set("/\\\0") or _shown(name) != name:
        return "a name with / or \\, or that is no UTF-8; allowed are names that every disk takes"
    if VARIABLE.search(name):
        return "a name with ${…}, which an address takes from the environment; allowed are names without"
    if web and (set(path) & set("?#")):
        return "an address with ? or #; allowed are %3F and %23 in their place"
    if web:  # an index does not say what is a folder, but its links do by the slash that they end in
        return "directory" if path.endswith("/") else str(entry["type"])
    if entry.get("islink"):
        found = "directory" if system.isdir(path) else "file" if system.isfile(path) else ""
        return found or "a link to nothing; allowed are files"
    return str(entry["type"]) if entry["type"] in ("file", "directory") else "no file and no folder"


def _shown(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()
