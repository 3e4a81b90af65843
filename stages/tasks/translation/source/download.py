"""Raw sentence pairs into a folder, each corpus as its publisher names and writes it.

    dates.tsv, ambiguous.tsv                  sample
    train.LANGUAGE.gz, val.LANGUAGE.gz        multi30k: one sentence a line
    OTHER.txt, _about.txt                     tatoeba: out of its zip; English, the other language, the attribution
    NAME.tsv, .txt, .tsv.gz, .txt.gz          tsv: source, target
    also/…/NAME.tsv                           what `source.also` names (`data/additional.py`)
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
from ....data.additional import is_additional, is_only_learned
from ....fetch import Request, file_name, join_url
from ....fetch.host import PRESENT, Host
from ....sources.additional import additional_requests
from ....sources.records import Records
from ..data.readers import Corpus, Part, write_corpus
from ..params import Params, SourceParams

MANIFEST = Path(__file__).parent.with_name("manifest.yaml")
RECORD = "downloads.json"
TSV_ENDINGS = (".tsv", ".txt", ".tsv.gz", ".txt.gz")
MAX_BYTES, MAX_FILES = 4 * 2**30, 100  # in an archive; the largest of manythings.org has 60 MB in three files


def download(params: SourceParams, folder: Path, host: Host = PRESENT) -> None:
    """Write the pairs that `source` asks for into the empty `folder`."""
    wanted = requests(params, folder, host)
    if wanted:
        host.fetch(wanted, folder / RECORD)
    kinds = {"sample": _sample, "multi30k": _multi30k, "tatoeba": _tatoeba, "tsv": _tsv}
    names = [request.target.relative_to(folder).as_posix() for request in wanted]
    further = [Part(files=[n], split="train" if is_only_learned(n) else "drawn") for n in names if is_additional(n)]
    parts = [*kinds[params.kind](params, folder, wanted), *further]
    languages = (params.source_language, params.target_language) if params.kind != "sample" else ("date", "iso8601")
    write_corpus(folder, Corpus(source_language=languages[0], target_language=languages[1], parts=parts))


def requests(params: SourceParams, folder: Path, host: Host = PRESENT) -> list[Request]:
    """Each file of the corpus, or the archive that holds them; then each file of pairs that `also` names."""
    further = additional_requests(params, folder, host, endings=(".tsv", ".txt"), takes=_is_of_pairs)
    return [*_own(params, folder), *further]


def _is_of_pairs(name: str) -> bool:
    return "/" not in name and name.endswith((".tsv", ".txt"))


def _own(params: SourceParams, folder: Path) -> list[Request]:
    if params.kind == "multi30k":
        manifest = _manifest("multi30k")
        names = [name for part in _multi30k_parts(params) for name in part.files]
        base = params.url or manifest["url"]
        return [Request(url=join_url(base, name), target=folder / name) for name in names]
    if params.kind == "tatoeba":
        manifest = _manifest("tatoeba")
        archive = manifest["archive"].format(other=_other_language(params))
        base = params.url or manifest["url"]
        url = base if base.lower().endswith(".zip") else join_url(base, archive)
        return [Request(url=url, target=folder / archive)]
    if params.kind == "tsv":
        name = file_name(params.url)
        if not name.lower().endswith(TSV_ENDINGS):
            allowed = ", ".join(TSV_ENDINGS)
            raise ValueError(f"source.url: found a file named {name!r}; allowed: one that ends in {allowed}")
        return [Request(url=params.url, target=folder / name)]
    return []


def records(params: Params, name: str) -> Records | None:
    """A pair, or a sentence of one language, a line; an archive is compared as a whole."""
    if is_additional(name):
        return Records(form="lines")
    return None if params.source.kind == "tatoeba" else Records(form="lines", encoding=params.prepare.encoding)


def _sample(params: SourceParams, folder: Path, wanted: list[Request]) -> list[Part]:
    from .sample import PAIRS, write_sample  # Babel: only where it is needed

    write_sample(folder, pairs=params.pairs, seed=params.seed)
    return [Part(files=[PAIRS], split="drawn")]


def _multi30k(params: SourceParams, folder: Path, wanted: list[Request]) -> list[Part]:
    return _multi30k_parts(params)


def _multi30k_parts(params: SourceParams) -> list[Part]:
    manifest = _manifest("multi30k")
    languages = (params.source_language, params.target_language)
    return [
        Part(files=[manifest["train"].format(language=language) for language in languages], split="drawn"),
        Part(files=[manifest["test"].format(language=language) for language in languages], split="test"),
    ]


def _other_language(params: SourceParams) -> str:
    """The one of the two languages that is not English, as Tatoeba names it."""
    languages, english = [params.source_language, params.target_language], _manifest("tatoeba")["english"]
    if english not in languages:
        found = " and ".join(languages)
        raise ValueError(f"source.source_language, target_language: found {found}; one of the two must be {english}")
    return next(language for language in languages if language != english)


def _tatoeba(params: SourceParams, folder: Path, wanted: list[Request]) -> list[Part]:
    manifest, english = _manifest("tatoeba"), _manifest("tatoeba")["english"]
    member = manifest["member"].format(other=_other_language(params))
    request = wanted[0]
    url, archive = request.url, request.target
    unpacked = folder / ".unpacked"
    members = (member, manifest["about"])
    files = extract(
        archive, unpacked, max_bytes=MAX_BYTES, max_files=MAX_FILES, wanted=lambda n: PurePosixPath(n).name in members
    )
    if [path.name for path in files].count(member) != 1:
        raise ValueError(f"{url}: found no {member} inside, or more than one; allowed: exactly one")
    for path in files:
        path.replace(folder / path.name)
    shutil.rmtree(unpacked)
    archive.unlink()
    # Two columns until 2019, since then a third with the attribution.
    return [Part(files=[member], split="drawn", columns=[2, 3], swapped=params.source_language != english)]


def _tsv(params: SourceParams, folder: Path, wanted: list[Request]) -> list[Part]:
    return [Part(files=[wanted[0].target.name], split="drawn")]


def _manifest(kind: str) -> dict[str, Any]:
    manifest: dict[str, dict[str, Any]] = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))
    return manifest[kind]
