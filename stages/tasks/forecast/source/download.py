"""Raw series into a folder, in their native format: the sample, a CSV or a Monash .tsf, plain, packed by gzip or inside
an archive.
"""

from __future__ import annotations

import hashlib
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from ....archives import extract, is_archive
from ....fetch import Request
from ....fetch.host import PRESENT, Host
from ....sources.records import Records
from ..data.numbers import MISSING
from ..params import Params, SourceParams

MANIFEST = Path(__file__).parent.with_name("manifest.yaml")
MAX_BYTES, MAX_FILES = 4 * 2**30, 1000  # in an archive


def download(params: SourceParams, folder: Path, host: Host = PRESENT) -> None:
    """Write `series.csv` or `*.tsf` to `folder`, as `source.kind` says, and the record of what was fetched.

    Raises ValueError where the sample is not the one the manifest describes, and where an archive holds no such file.
    """
    if params.kind == "sample":
        (folder / "series.csv").write_bytes(_sample(_manifest()["sample"]))
        return
    [request] = requests(params, folder, host)
    host.fetch([request], folder / "downloads.json")
    if is_archive(request.target):
        _unpack(request.target, params)


def requests(params: SourceParams, folder: Path, host: Host = PRESENT) -> list[Request]:
    """The one file that is fetched."""
    if params.kind == "sample":
        return []
    known: dict[str, Any] = next((entry for entry in _manifest()["known"] if entry["url"] == params.url), {})
    target = folder / f"series.{params.kind}"
    return [Request(url=params.url, target=target, size=known.get("size"), sha256=known.get("sha256"))]


def records(params: Params, name: str) -> Records | None:
    """A row a day and series, or a series a line."""
    prepare = params.prepare
    if params.source.kind == "tsf":
        return Records(form="tsf", encoding=prepare.encoding)
    return Records(
        form="csv",
        key=(*([prepare.id_column] if prepare.id_column else []), *prepare.date_columns),
        dates=tuple(prepare.date_columns),
        date_format=prepare.date_format,
        values=tuple(prepare.value_columns),
        missing=MISSING,
        delimiter=prepare.delimiter,
        encoding=prepare.encoding,
    )


def _manifest() -> dict[str, Any]:
    manifest: dict[str, Any] = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))
    return manifest


def _sample(entry: dict[str, Any]) -> bytes:
    spec = find_spec(entry["package"])  # finds the folder without importing the package, and pandas with it
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"the sample is part of the package {entry['package']}, which is not installed")
    path = Path(spec.submodule_search_locations[0]) / entry["file"]
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != entry["sha256"]:
        raise ValueError(f"{path}: found sha256 {found}; allowed: {entry['sha256']}, as in the manifest")
    return content


def _unpack(archive: Path, params: SourceParams) -> None:
    """Replace an archive by the files of the wanted kind inside it, all in one folder."""
    suffix = f".{params.kind}"
    endings = (suffix, f"{suffix}.gz")
    packed = archive.rename(archive.with_name("packed"))
    inside = archive.with_name("inside")
    paths = extract(
        packed, inside, max_bytes=MAX_BYTES, max_files=MAX_FILES, wanted=lambda name: name.lower().endswith(endings)
    )
    packed.unlink()
    if not paths:
        raise ValueError(f"{params.url}: the archive has no *{suffix} file, which source.kind {params.kind} needs")
    for number, path in enumerate(paths):
        path.rename(archive.with_name(f"series-{number:03d}{suffix}"))
    shutil.rmtree(inside)
