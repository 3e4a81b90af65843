"""Texts as token numbers and back: characters, or subwords learned from the training split.

The first four numbers mean the same everywhere. A tokenizer is one JSON file, which travels inside a registered model.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Subwords

Kind = Literal["character", "subword"]

PADDING, UNKNOWN, START, END = range(4)
SPECIAL = ("<pad>", "<unk>", "<s>", "</s>")
MARK = re.compile("<([A-Za-z_]{1,20})>")  # at a text's start, such as <en_US>, a language or a locale: one token


class Tokenizer(ABC):
    """Numbers for texts; `size` counts them, the four special ones included."""

    size: int

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """The tokens of a normalised text, without start and end."""

    @abstractmethod
    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens; special ones are left out."""

    @abstractmethod
    def pieces(self, tokens: Sequence[int]) -> list[str]:
        """Each token as a person reads it, for the axes of a picture."""

    @abstractmethod
    def save(self, path: Path) -> None: ...


class CharacterTokenizer(Tokenizer):
    """One token a character, and one for a mark such as `<en_US>` before the text."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self._pieces = [*SPECIAL, *vocabulary]
        self._numbers = {piece: number for number, piece in enumerate(self._pieces)}
        self.size = len(self._pieces)

    @classmethod
    def train(cls, texts: Iterable[str], size: int) -> CharacterTokenizer:
        """The most frequent characters and marks, at most `size` with the special ones; ordered by code point."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(_characters(text))
        ranked = sorted(counts, key=lambda piece: (-counts[piece], piece))
        return cls(sorted(ranked[: size - len(SPECIAL)]))

    @classmethod
    def load(cls, path: Path) -> CharacterTokenizer:
        return cls(json.loads(path.read_text(encoding="utf-8"))["vocabulary"])

    def encode(self, text: str) -> list[int]:
        return [self._numbers.get(piece, UNKNOWN) for piece in _characters(text)]

    def decode(self, tokens: Sequence[int]) -> str:
        return "".join(self._pieces[token] for token in tokens if token >= len(SPECIAL))

    def pieces(self, tokens: Sequence[int]) -> list[str]:
        return [self._pieces[token] for token in tokens]

    def save(self, path: Path) -> None:
        content = json.dumps({"vocabulary": self._pieces[len(SPECIAL) :]}, ensure_ascii=False, indent=1)
        path.write_text(content + "\n", encoding="utf-8")


class SubwordTokenizer(Tokenizer):
    """Byte-pair encoding by Hugging Face's `tokenizers` (Sennrich, Haddow and Birch, "Neural Machine Translation of
    Rare Words with Subword Units", 2016). A token may begin with a space, written ▁; punctuation is never merged with
    words.
    """

    def __init__(self, subwords: Subwords) -> None:
        subwords.encode_special_tokens = True  # a sentence that holds the text "</s>" does not end there
        self._subwords = subwords
        self.size = subwords.get_vocab_size()

    @classmethod
    def train(cls, texts: Iterable[str], size: int) -> SubwordTokenizer:
        """At most `size` tokens with the special ones."""
        from tokenizers import Tokenizer as Subwords
        from tokenizers import decoders, models, pre_tokenizers, trainers

        subwords = Subwords(models.BPE(unk_token=SPECIAL[UNKNOWN], fuse_unk=True))
        subwords.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Metaspace(prepend_scheme="always"), pre_tokenizers.Punctuation("isolated")]
        )
        subwords.decoder = decoders.Metaspace(prepend_scheme="always")
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=list(SPECIAL),
            limit_alphabet=max(1, size // 4),
            min_frequency=2,
            show_progress=False,
        )
        subwords.train_from_iterator(texts, trainer=trainer)
        return cls(subwords)

    @classmethod
    def load(cls, path: Path) -> SubwordTokenizer:
        from tokenizers import Tokenizer as Subwords

        return cls(Subwords.from_file(str(path)))

    def encode(self, text: str) -> list[int]:
        return self._subwords.encode(text, add_special_tokens=False).ids

    def decode(self, tokens: Sequence[int]) -> str:
        return self._subwords.decode(list(tokens), skip_special_tokens=True)

    def pieces(self, tokens: Sequence[int]) -> list[str]:
        return [self._subwords.id_to_token(token) or SPECIAL[UNKNOWN] for token in tokens]

    def save(self, path: Path) -> None:
        self._subwords.save(str(path), pretty=True)


KINDS: dict[Kind, type[CharacterTokenizer] | type[SubwordTokenizer]] = {
    "character": CharacterTokenizer,
    "subword": SubwordTokenizer,
}


def load_tokenizers(folder: Path, data: Mapping[str, Any]) -> tuple[Tokenizer, Tokenizer]:
    """The source's tokenizer and the target's, from a folder of prepared data or of weights; one and the same where
    `data`, which describes the prepared data, names one file.
    """
    tokenizers = [KINDS[data["tokenizer"]].load(folder / name) for name in data["assets"]]
    return tokenizers[0], tokenizers[-1]


def without_mark(text: str) -> str:
    """The text after its mark, where it has one."""
    mark = MARK.match(text)
    return text[mark.end() if mark else 0 :].lstrip()


def _characters(text: str) -> list[str]:
    mark = MARK.match(text)
    return [mark.group(), *text[mark.end() :]] if mark else list(text)
