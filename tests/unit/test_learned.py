"""What a network has learned from, as a small file beside its weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from stages.models import learned
from stages.models.learned import LEARNED_NAME, Identities, Learned


def test_what_was_learned_is_known_again_and_nothing_else_is(tmp_path: Path) -> None:
    names = [f"drawing {number}" for number in range(1000)]
    Learned.of(Identities(iter(names[:500]))).save(tmp_path)
    again = Learned.load(tmp_path)
    assert again is not None
    assert again.may_hold(Identities(names)).tolist() == [True] * 500 + [False] * 500
    assert (tmp_path / LEARNED_NAME).stat().st_size < 500 * 8 + 200


def test_the_same_examples_in_any_order_are_the_same_bytes(tmp_path: Path) -> None:
    names = [f"Ä{number}" for number in range(50)]
    files = []
    for folder, order in (("one", names), ("two", names[::-1] + names[:3])):
        (tmp_path / folder).mkdir()
        Learned.of(Identities(order)).save(tmp_path / folder)
        files.append((tmp_path / folder / LEARNED_NAME).read_bytes())
    assert files[0] == files[1]


def test_of_a_series_the_days_count(tmp_path: Path) -> None:
    Learned.of(Identities(["a", "b"], np.array([[10, 20], [15, 30]]))).save(tmp_path)
    again = Learned.load(tmp_path)
    assert again is not None
    weeks = Identities(["a", "a", "a", "b", "c"], np.array([[3, 9], [4, 10], [21, 27], [21, 27], [15, 21]]))
    assert again.may_hold(weeks).tolist() == [False, True, False, True, False]


def test_older_weights_do_not_say_and_nothing_was_learned_from_nothing(tmp_path: Path) -> None:
    assert Learned.load(tmp_path) is None
    assert Learned.of(Identities([])).may_hold(Identities(["a"])).tolist() == [False]


def test_a_bound_holds_and_what_lies_beyond_it_counts_as_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"drawing {number}" for number in range(2000)]
    everything = Learned.of(Identities(names[:1000]))
    monkeypatch.setattr(learned, "MOST_IDS", 250)
    bounded = Learned.of(Identities(names[:1000]))
    assert np.array_equal(bounded.hashes, everything.hashes[:250])
    told = bounded.may_hold(Identities(names))
    assert told[:1000].all()
    assert 150 < (~told[1000:]).sum() < 350  # a quarter of what is new can still be asked


@pytest.mark.parametrize("content", [b"hello", save({"days": np.zeros((1, 2), np.int32)})])
def test_what_does_not_say_what_was_learned_is_named(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"learned\.safetensors does not say"):
        Learned.parse(content)
