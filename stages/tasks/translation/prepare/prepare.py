"""Sentence pairs into token numbers.

A pair is normalised (see `text.py`), then rejected where a side is empty, the pair came before, or its source stands in
the publisher's test set. The split goes by a hash of one side's text, so that all pairs of one source (or of one
target, as with dates) are on one side. Tokenizers learn from the training split alone; pairs that are then too long are
rejected. Of a test set that its publisher holds out nothing is rejected but what is empty or unreadable, so that scores
compare with others'.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
from tqdm import tqdm

from ....data.store import SPLITS, ragged
from ....preprocessing.preparation import Preparation
from ..data.readers import AMBIGUOUS, Corpus, Pair, Unreadable, read_corpus, read_pairs
from ..data.text import normalise
from ..data.tokenizer import Tokenizer, train_tokenizer
from ..params import PrepareParams

SOURCE_TOKENIZER, TARGET_TOKENIZER = "source_tokenizer.json", "target_tokenizer.json"
SHARED_TOKENIZER = "tokenizer.json"
COLUMNS = {"source": ragged("int32"), "target": ragged("int32"), "source_text": pa.string(), "target_text": pa.string()}


def prepare(raw: Path, params: PrepareParams, output: Preparation) -> None:
    """Write tokens and texts of every accepted pair, and the tokenizers, to `output`."""
    corpus = read_corpus(raw)
    best = BestPossible(raw / AMBIGUOUS)
    with TemporaryDirectory() as temporary:
        clean = CleanPairs(Path(temporary) / "pairs.tsv")
        clean.write(read_pairs(raw, corpus), params, output)
        tokenizers = _tokenizers(clean, params)
        for name, tokenizer in tokenizers.items():
            tokenizer.save(output.folder / name)
        source, target = list(tokenizers.values())[0], list(tokenizers.values())[-1]
        counts: Counter[str] = Counter()
        with output.store(COLUMNS) as store:
            for id, split, whole, source_text, target_text in clean.read():
                tokens, targets = source.encode(source_text), target.encode(target_text)
                reason = _too_long(len(tokens), len(targets), params)
                if reason and not whole:
                    content = f"{source_text}\t{target_text}"
                    output.reject(id=id, file=id.rpartition(":")[0], rule="too_long", reason=reason, content=content)
                    continue
                store.append(
                    {
                        "id": id,
                        "split": split,
                        "length": len(tokens),
                        "source": tokens,
                        "target": targets,
                        "source_text": source_text,
                        "target_text": target_text,
                    }
                )
                counts[split] += 1
                best.add(split, source_text)
    if output.accepted:
        _require_all_splits(counts)
    description = _description(corpus, params, source, target, best)
    output.describe({"assets": list(tokenizers), **description})


def _tokenizers(clean: CleanPairs, params: PrepareParams) -> dict[str, Tokenizer]:
    """By file name: the source's and the target's, or the one of both."""
    sides: dict[str, Sequence[int]] = {SOURCE_TOKENIZER: [0], TARGET_TOKENIZER: [1]}
    if params.shared_vocabulary:
        sides = {SHARED_TOKENIZER: [0, 1]}
    return {
        name: train_tokenizer(params.tokenizer, clean.training_texts(some), params.vocabulary_size)
        for name, some in sides.items()
    }


def _description(
    corpus: Corpus, params: PrepareParams, source: Tokenizer, target: Tokenizer, best: BestPossible
) -> dict[str, Any]:
    held_out = any(part.split == "test" for part in corpus.parts)
    segment = "source" if params.split_by == "source" and not held_out else "pair"
    return {
        "tokenizer": params.tokenizer,
        "shared_vocabulary": params.shared_vocabulary,
        "segment": segment,
        "source_language": corpus.source_language,
        "target_language": corpus.target_language,
        "source_vocabulary_size": source.size,
        "target_vocabulary_size": target.size,
        "max_source_tokens": params.max_source_tokens,
        # Of a source with several references nobody knows how many of its likely targets are among them.
        "best_possible_exact_match": best.value() if segment == "pair" else None,
    }


class CleanPairs:
    """The accepted pairs in a file of their own, so that memory holds no texts.

    A line has id, split, `whole` or nothing (whether it is of a test set that must stay whole), source and target.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, records: Iterator[Pair | Unreadable], params: PrepareParams, output: Preparation) -> None:
        seen: set[bytes] = set()  # digests, 16 bytes each: a million pairs take some 100 MB
        tested: set[bytes] = set()  # sources that the publisher holds out
        draw = splitter(params)
        with self._path.open("w", encoding="utf-8", newline="\n") as file:
            for record in tqdm(records, desc="pairs", unit="pair", leave=False, disable=None):
                if isinstance(record, Unreadable):
                    output.reject(
                        id=record.id, file=record.file, rule=record.rule, reason=record.reason, content=record.content
                    )
                    continue
                held_out = record.split == "test"
                source, source_rules = normalise(record.source)
                target, target_rules = normalise(record.target)
                rule, reason = "", ""
                pair = _digest(f"{source}\t{target}")
                if not source or not target:
                    side = "target" if source else "source"
                    rule, reason = "empty", f"found no text in the {side}; allowed: text in both"
                elif held_out:
                    tested.add(_digest(source))
                elif pair in seen:
                    rule, reason = "duplicate", "found the same pair before; allowed: each pair once"
                elif tested and _digest(source) in tested:
                    rule, reason = "in_test_set", "found its source in the publisher's test set; allowed: new sources"
                if rule:
                    content = f"{record.source}\t{record.target}"
                    output.reject(id=record.id, file=record.file, rule=rule, reason=reason, content=content)
                    continue
                for name in sorted({*source_rules, *target_rules}):
                    output.repair(name)
                seen.add(pair)
                split = "test" if held_out else draw(source, target, has_test_set=bool(tested))
                file.write(f"{record.id}\t{split}\t{'whole' if held_out else ''}\t{source}\t{target}\n")

    def read(self) -> Iterator[tuple[str, str, bool, str, str]]:
        with self._path.open(encoding="utf-8", newline="\n") as file:
            for line in file:
                id, split, whole, source, target = line.removesuffix("\n").split("\t")
                yield id, split, bool(whole), source, target

    def training_texts(self, sides: Sequence[int]) -> Iterator[str]:
        """The training split's sources (side 0), targets (side 1) or both."""
        pairs = ((source, target) for _, split, _, source, target in self.read() if split == "train")
        return (pair[side] for pair in pairs for side in sides)


def splitter(params: PrepareParams) -> Callable[..., str]:
    """`split(source, target, has_test_set=)`: the split's name, drawn by a hash of the seed and one side's text.

    Where the publisher holds out a test set, the drawn pairs are shared between training and validation alone.
    """

    def split(source: str, target: str, *, has_test_set: bool) -> str:
        key = source if params.split_by == "source" else target
        place = int.from_bytes(blake2b(f"{params.seed}\t{key}".encode(), digest_size=8).digest()) / 2**64
        if place < params.validation_share:
            return "validation"
        return "test" if place < params.validation_share + params.test_share and not has_test_set else "train"

    return split


class BestPossible:
    """The exact match that the best of all translators may expect on the test split, where the sample's maker knows it.

    A source that means several targets is right at most as often as its likeliest target. None without such knowledge.
    """

    def __init__(self, path: Path) -> None:
        self._likeliest: dict[str, float] | None = None
        if path.is_file():
            self._likeliest = {}
            with path.open(encoding="utf-8", newline="") as file:
                for source, _, share in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                    text, _ = normalise(source)
                    self._likeliest[text] = max(float(share), self._likeliest.get(text, 0.0))
        self._sum, self._count = 0.0, 0

    def add(self, split: str, source: str) -> None:
        if split == "test" and self._likeliest is not None:
            self._sum += self._likeliest.get(source, 1.0)
            self._count += 1

    def value(self) -> float | None:
        return self._sum / self._count if self._count else None


def _too_long(source: int, target: int, params: PrepareParams) -> str | None:
    """Why numbers of tokens are too large, or None."""
    for side, found, allowed in (
        ("source", source, params.max_source_tokens),
        ("target", target, params.max_target_tokens),
    ):
        if found > allowed:
            return f"found {found} tokens in the {side}; allowed: {allowed}"
    return None


def _require_all_splits(counts: Counter[str]) -> None:
    empty = [split for split in SPLITS if not counts[split]]
    if empty:
        found = ", ".join(f"{split} {counts[split]}" for split in SPLITS)
        raise ValueError(f"no pair in {' and '.join(empty)} (found {found}); give more pairs or larger shares")


def _digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()
