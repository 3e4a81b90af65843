"""Sentence pairs into token numbers.

A pair is normalised (see `text.py`), then rejected where a side is empty, the pair came before, or its source stands in
the publisher's test set. The split goes by a hash of one side's text, so that all pairs of one source (or of one
target, as with dates) are on one side; with `prepare.group` by a hash of the group, and a pair whose text stands in
another split by its group is rejected. Tokenizers learn from the training split alone; pairs that are then too long are
rejected. Pairs that may measure nothing (`source.also`) go into training; one whose source, or the text that the split
goes by, stands in the test or validation split is rejected. Of a test set that its publisher holds out nothing is
rejected but what is empty or unreadable, so that scores compare with others'.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pyarrow as pa

from ....data.store import SPLITS, ragged
from ....preprocessing.groups import REPAIR as NO_GROUP
from ....preprocessing.groups import find_group, is_pattern
from ....preprocessing.preparation import Preparation
from ....progress_bar import busy, track
from ..data.readers import AMBIGUOUS, BadRecord, Pair, read_corpus, read_pairs
from ..data.text import normalise
from ..data.tokenizer import KINDS, Tokenizer
from ..params import PrepareParams

SOURCE_TOKENIZER, TARGET_TOKENIZER = "source_tokenizer.json", "target_tokenizer.json"
SHARED_TOKENIZER = "tokenizer.json"
COLUMNS = {"source": ragged("int32"), "target": ragged("int32"), "source_text": pa.string(), "target_text": pa.string()}


class CleanPair(NamedTuple):
    """An accepted pair, normalised; its texts hold no tabs and no line ends."""

    id: str  # FILE:LINE
    split: str
    held_out: str  # "yes" or nothing: whether it is of a test set that must stay whole
    group: str  # empty where there is none
    source: str
    target: str


def prepare(raw: Path, params: PrepareParams, output: Preparation) -> None:
    """Write tokens and texts of every accepted pair, and the tokenizers, to `output`."""
    output.units("pairs")
    corpus = read_corpus(raw)
    likeliest = _likeliest_shares(raw / AMBIGUOUS)
    expected: list[float] = []  # of each test pair, how often the best of all translators is right
    counts: Counter[str] = Counter()
    with TemporaryDirectory() as temporary:
        clean = Path(temporary) / "pairs.tsv"  # a file of their own, so that memory holds no texts
        pairs = read_pairs(raw, corpus, params.encoding, further=bool(params.group))
        additional = any(part.split == "train" for part in corpus.parts)
        _write(clean, _clean_pairs(pairs, params, output, additional=additional))
        with busy("tokenizers are learned"):
            tokenizers = _tokenizers(clean, params)
        for name, tokenizer in tokenizers.items():
            tokenizer.save(output.folder / name)
        source, target = list(tokenizers.values())[0], list(tokenizers.values())[-1]
        columns = {**COLUMNS, "group": pa.string()} if params.group else COLUMNS
        with output.store(columns) as store:
            for pair in track(_read(clean), "tokens", unit="pairs"):
                tokens, targets = source.encode(pair.source), target.encode(pair.target)
                reason = _too_long(len(tokens), len(targets), params)
                if reason and not pair.held_out:
                    _reject(output, pair, "too_long", reason)
                    continue
                store.append(
                    {
                        "id": pair.id,
                        "split": pair.split,
                        "length": len(tokens),
                        "source": tokens,
                        "target": targets,
                        "source_text": pair.source,
                        "target_text": pair.target,
                        **({"group": pair.group or None} if params.group else {}),
                    }
                )
                counts[pair.split] += 1
                if pair.split == "test" and likeliest is not None:
                    expected.append(likeliest.get(pair.source, 1.0))
    if output.accepted:
        _require_all_splits(counts)
    whole_test_set = any(part.split == "test" for part in corpus.parts)
    segment = "source" if params.split_by == "source" and not whole_test_set else "pair"
    output.describe(
        {
            "assets": list(tokenizers),
            "tokenizer": params.tokenizer,
            "shared_vocabulary": params.shared_vocabulary,
            "segment": segment,
            "source_language": corpus.source_language,
            "target_language": corpus.target_language,
            "source_vocabulary_size": source.size,
            "target_vocabulary_size": target.size,
            "max_source_tokens": params.max_source_tokens,
            # Of a source with several references nobody knows how many of its likely targets are among them.
            "best_possible_exact_match": sum(expected) / len(expected) if expected and segment == "pair" else None,
        }
    )


def _tokenizers(clean: Path, params: PrepareParams) -> dict[str, Tokenizer]:
    """By file name: the source's and the target's, or the one of both."""
    sides: dict[str, Sequence[str]] = {SOURCE_TOKENIZER: ["source"], TARGET_TOKENIZER: ["target"]}
    if params.shared_vocabulary:
        sides = {SHARED_TOKENIZER: ["source", "target"]}
    kind = KINDS[params.tokenizer]
    return {
        name: kind.train(
            (getattr(pair, side) for pair in _read(clean) if pair.split == "train" for side in chosen),
            params.vocabulary_size,
        )
        for name, chosen in sides.items()
    }


def _write(path: Path, pairs: Iterable[CleanPair]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines("\t".join(pair) + "\n" for pair in pairs)


def _read(path: Path) -> Iterator[CleanPair]:
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            yield CleanPair(*line.removesuffix("\n").split("\t"))


def _clean_pairs(
    records: Iterable[Pair | BadRecord], params: PrepareParams, output: Preparation, *, additional: bool
) -> Iterator[CleanPair]:
    """The pairs that are accepted; the others are rejected with a reason, and repairs are counted.

    `additional`: whether some of them may measure nothing; they come last.
    """
    seen: set[bytes] = set()  # digests, 16 bytes each: a million pairs take some 100 MB
    tested: set[bytes] = set()  # sources that the publisher holds out
    sides: dict[bytes, str] = {}  # with groups: text of `split_by` → the split it came into
    measured: dict[tuple[str, bytes], str] = {}  # where pairs may measure nothing: text of others → test or validation
    for record in track(records, "pairs", unit="pairs"):
        if isinstance(record, BadRecord):
            output.reject(**asdict(record))
            continue
        source, source_rules = normalise(record.source)
        target, target_rules = normalise(record.target)
        digest, source_digest = _digest(f"{source}\t{target}"), _digest(source)
        held_out = record.split == "test"
        group = "" if record.split != "drawn" else _group(record, params.group)
        split: str = record.split
        if split == "drawn":
            split = draw_split(source, target, params, group=group, has_test_set=bool(tested))
        split_digest = _digest(split_text(source, target, params))
        texts = ("source", source_digest), (params.split_by, split_digest)
        side = split
        rule, reason = "", ""
        if not source or not target:
            side = "target" if source else "source"
            rule, reason = "empty", f"found no text in the {side}; allowed: text in both"
        elif held_out:
            tested.add(source_digest)
        elif record.split == "train" and (side := next((measured[text] for text in texts if text in measured), "")):
            rule = "in_test_set" if side == "test" else "in_other_split"
            reason = f"found its source, or its {params.split_by}, in {side}; allowed: pairs that no model learns from"
        elif digest in seen:
            rule, reason = "duplicate", "found the same pair before; allowed: each pair once"
        elif source_digest in tested:
            rule, reason = "in_test_set", "found its source in the publisher's test set; allowed: new sources"
        elif params.group and (side := sides.setdefault(split_digest, split)) != split:
            rule = "in_other_split"
            reason = f"found its {params.split_by} in {side} with another group; allowed: a text in one split"
        if rule:
            _reject(output, record, rule, reason)
            continue
        for name in sorted({*source_rules, *target_rules}):
            output.repair(name, example=record.id)
        if params.group and not group and record.split == "drawn":
            output.repair(NO_GROUP, example=record.id, doubtful=True)
        seen.add(digest)
        if additional and split != "train":
            measured |= dict.fromkeys(texts, split)
        yield CleanPair(record.id, split, "yes" if held_out else "", group, source, target)


def _reject(output: Preparation, pair: Pair | CleanPair, rule: str, reason: str) -> None:
    file, content = pair.id.rpartition(":")[0], f"{pair.source}\t{pair.target}"
    output.reject(id=pair.id, file=file, rule=rule, reason=reason, content=content)


def _group(pair: Pair, group: str) -> str:
    """The third column, or what a pattern finds there, or in the source where there is none; empty for no group."""
    found = find_group(group, pair.further or pair.source) if is_pattern(group) else group and pair.further
    return " ".join((found or "").split())


def split_text(source: str, target: str, params: PrepareParams) -> str:
    """The text whose pairs all come into one split."""
    return source if params.split_by == "source" else target


def draw_split(source: str, target: str, params: PrepareParams, *, group: str = "", has_test_set: bool) -> str:
    """The split's name, by a hash of the seed and of the group, or else of one side's text.

    Where the publisher holds out a test set, the drawn pairs are shared between training and validation alone.
    """
    key = group or split_text(source, target, params)
    place = int.from_bytes(blake2b(f"{params.seed}\t{key}".encode(), digest_size=8).digest()) / 2**64
    if place < params.validation_share:
        return "validation"
    return "test" if place < params.validation_share + params.test_share and not has_test_set else "train"


def _likeliest_shares(path: Path) -> dict[str, float] | None:
    """Of each source that means several targets how often the likeliest is right; None where nobody knows, which is
    everywhere but in the sample.
    """
    if not path.is_file():
        return None
    shares: dict[str, float] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for source, _, share in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            text, _ = normalise(source)
            shares[text] = max(float(share), shares.get(text, 0.0))
    return shares


def _too_long(source: int, target: int, params: PrepareParams) -> str | None:
    """Why numbers of tokens are too large, or None."""
    limits = {"source": (source, params.max_source_tokens), "target": (target, params.max_target_tokens)}
    for side, (tokens, allowed) in limits.items():
        if tokens > allowed:
            return f"found {tokens} tokens in the {side}; allowed: {allowed}"
    return None


def _require_all_splits(counts: Counter[str]) -> None:
    empty = [split for split in SPLITS if not counts[split]]
    if empty:
        found = ", ".join(f"{split} {counts[split]}" for split in SPLITS)
        raise ValueError(f"no pair in {' and '.join(empty)} (found {found}); give more pairs or larger shares")


def _digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()
