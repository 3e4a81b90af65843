"""Raw sentence pairs into a folder, each corpus as its publisher names and writes it.

    dates.tsv, ambiguous.tsv                  sample
    train.LANGUAGE.gz, val.LANGUAGE.gz        multi30k: one sentence a line
    OTHER.txt, _about.txt                     tatoeba: out of its zip; English, the other language, the attribution
    NAME.tsv, .txt, .tsv.gz, .txt.gz          tsv: source, target
    corpus.json                               which file holds what
    downloads.json                            what was fetched from where, where anything was

An address may be a mirror; its files are then named as the publisher names them.
"""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from ....archives import extract
from ....fetch import Request, fetch_all, file_name, join_url
from ..data.readers import Corpus, Part, write_corpus
from ..params import SourceParams

MANIFEST = Path(__file__).parent.with_name("manifest.yaml")
RECORD = "downloads.json"
TSV_ENDINGS = (".tsv", ".txt", ".tsv.gz", ".txt.gz")
MAX_BYTES, MAX_FILES = 4 * 2**30, 100  # in an archive; the largest of manythings.org has 60 MB in three files


def download(params: SourceParams, folder: Path) -> None:
    """Write the pairs that `source` asks for into the empty `folder`."""
    kinds = {"sample": _sample, "multi30k": _multi30k, "tatoeba": _tatoeba, "tsv": _tsv}
    parts = kinds[params.kind](params, folder)
    languages = (params.source_language, params.target_language) if params.kind != "sample" else ("date", "iso8601")
    write_corpus(folder, Corpus(source_language=languages[0], target_language=languages[1], parts=parts))


def _sample(params: SourceParams, folder: Path) -> list[Part]:
    from .sample import PAIRS, write_sample  # Babel: only where it is needed

    write_sample(folder, pairs=params.pairs, seed=params.seed)
    return [Part(files=[PAIRS], split="drawn")]


def _multi30k(params: SourceParams, folder: Path) -> list[Part]:
    manifest = _manifest("multi30k")
    languages = (params.source_language, params.target_language)
    parts = [
        Part(files=[manifest["train"].format(language=language) for language in languages], split="drawn"),
        Part(files=[manifest["test"].format(language=language) for language in languages], split="test"),
    ]
    names = [name for part in parts for name in part.files]
    base = params.url or manifest["url"]
    fetch_all([Request(url=join_url(base, name), target=folder / name) for name in names], folder / RECORD)
    return parts


def _tatoeba(params: SourceParams, folder: Path) -> list[Part]:
    manifest = _manifest("tatoeba")
    languages, english = [params.source_language, params.target_language], manifest["english"]
    if english not in languages:
        found = " and ".join(languages)
        raise ValueError(f"source.source_language, target_language: found {found}; one of the two must be {english}")
    other = next(language for language in languages if language != english)
    archive = folder / manifest["archive"].format(other=other)
    member = manifest["member"].format(other=other)
    base = params.url or manifest["url"]
    url = base if base.lower().endswith(".zip") else join_url(base, archive.name)
    fetch_all([Request(url=url, target=archive)], folder / RECORD)
    unpacked = folder / ".unpacked"
    wanted = (member, manifest["about"])
    files = extract(
        archive, unpacked, max_bytes=MAX_BYTES, max_files=MAX_FILES, wanted=lambda n: PurePosixPath(n).name in wanted
    )
    if [path.name for path in files].count(member) != 1:
        raise ValueError(f"{url}: found no or more than one {member} inside; allowed: exactly one")
    for path in files:
        path.replace(folder / path.name)
    shutil.rmtree(unpacked)
    archive.unlink()
    # Two columns until 2019, since then a third with the attribution.
    return [Part(files=[member], split="drawn", columns=[2, 3], swapped=params.source_language != english)]


def _tsv(params: SourceParams, folder: Path) -> list[Part]:
    name = file_name(params.url)
    if not name.lower().endswith(TSV_ENDINGS):
        raise ValueError(f"source.url: found a file named {name!r}; allowed: one that ends in {', '.join(TSV_ENDINGS)}")
    fetch_all([Request(url=params.url, target=folder / name)], folder / RECORD)
    return [Part(files=[name], split="drawn")]


def _manifest(kind: str) -> dict[str, Any]:
    manifest: dict[str, dict[str, Any]] = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))
    return manifest[kind]
