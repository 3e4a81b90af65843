"""The stated rule by which texts are brought into one form, and the tokens made of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stages.tasks.translation.data.text import normalise
from stages.tasks.translation.data.tokenizer import (
    END,
    KINDS,
    UNKNOWN,
    CharacterTokenizer,
    Kind,
    SubwordTokenizer,
    without_mark,
)

TEXTS = [
    ("Go.", "Go.", []),
    ("Va\u202f! « Oui\u00a0»", "Va ! « Oui »", ["spaces"]),
    ("  two\t spaces\u3000here \n", "two spaces here", ["spaces"]),
    ("e\u0301te\u0301", "\u00e9t\u00e9", ["composed"]),
    ("5\u200f/3\u200f/1999", "5/3/1999", ["invisible"]),
    ("co\u00adop\ufeff", "coop", ["invisible"]),
    ("a\x00b\x1b[0m\ud800", "a b [0m", ["control", "spaces"]),
    ("a" + "\u0301\u0316" * 5000, "á" + "\u0316" * 15 + "\u0301" * 14, ["marks", "composed"]),
    ("می\u200cخواهم", "می\u200cخواهم", []),  # Persian needs its non-joiner
    ("\u2028\u0085\u200b", "", ["invisible", "spaces"]),
]


@pytest.mark.parametrize(("text", "expected", "rules"), TEXTS)
def test_texts_are_normalised_by_the_stated_rule(text: str, expected: str, rules: list[str]) -> None:
    assert normalise(text) == (expected, rules)
    assert normalise(expected) == (expected, [])


def test_a_mark_is_one_token_and_the_rest_are_characters() -> None:
    tokenizer = CharacterTokenizer.train(["<de> 5.3.", "<en_US> 5/3"], size=100)
    tokens = tokenizer.encode("<de> 53")
    assert tokenizer.pieces(tokens) == ["<de>", " ", "5", "3"]
    assert tokenizer.decode([*tokens, END]) == "<de> 53"
    assert tokenizer.size == 4 + len({"<de>", "<en_US>", " ", "5", "3", ".", "/"})


def test_characters_never_seen_in_training_are_unknown() -> None:
    tokenizer = CharacterTokenizer.train(["abc"], size=100)
    assert tokenizer.encode("a猫b")[1] == UNKNOWN
    assert tokenizer.decode(tokenizer.encode("a猫b")) == "ab"


def test_the_rarest_characters_are_left_out_of_a_small_vocabulary() -> None:
    tokenizer = CharacterTokenizer.train(["aaabbc"], size=4 + 2)
    assert [token == UNKNOWN for token in tokenizer.encode("abc")] == [False, False, True]


@pytest.mark.parametrize("text", ["A man, who runs.", "it's", "a </s> b <unk>", "«a»!"])
def test_subwords_give_the_text_back(text: str) -> None:
    tokenizer = SubwordTokenizer.train(["A man, who runs. it's a </s> b <unk> «a»!"] * 3, size=400)
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == text
    assert all(token > END for token in tokens)  # text that looks like a special token is none


def test_frequent_words_become_one_subword() -> None:
    tokenizer = SubwordTokenizer.train(["the dog runs", "the dog sleeps"] * 10, size=60)
    assert tokenizer.pieces(tokenizer.encode("the dog"))[:2] == ["▁the", "▁dog"]


def test_unseen_scripts_are_unknown_subwords() -> None:
    tokenizer = SubwordTokenizer.train(["the dog runs"] * 10, size=60)
    assert UNKNOWN in tokenizer.encode("猫猫猫")


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_tokenizer_is_the_same_tokenizer(tmp_path: Path, kind: Kind) -> None:
    tokenizer = KINDS[kind].train(["<de> der Hund läuft", "<de> die Katze </s> schläft"] * 5, 200)
    tokenizer.save(tmp_path / "tokenizer.json")
    loaded = KINDS[kind].load(tmp_path / "tokenizer.json")
    text = "<de> der Hund </s> schläft"
    assert loaded.encode(text) == tokenizer.encode(text)
    assert loaded.size == tokenizer.size
    assert loaded.decode(loaded.encode(text)) == text


def test_subwords_are_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from stages.tasks.translation.data.tokenizer import SubwordTokenizer as S;"
        "S.train((f'word{n % 97} ab{n % 31}cd{n % 7}' for n in range(2000)), 150).save(Path(sys.argv[1]))"
    )
    root = Path(__file__).resolve().parents[2]
    for name, hash_seed in (("a.json", "1"), ("b.json", "2")):
        environment = {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(root), "PATH": ""}
        subprocess.run([sys.executable, "-c", code, str(tmp_path / name)], check=True, env=environment)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_a_text_without_its_mark() -> None:
    assert without_mark("<en_US> March 5") == "March 5"
    assert without_mark("a <b> c") == "a <b> c"
