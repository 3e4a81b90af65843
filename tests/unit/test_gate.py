"""The gate's rules, without a store: what must be beaten, by how much, and what happens when others are faster."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.evaluation.bootstrap import mean
from stages.params import load
from stages.registry import gate
from stages.registry.aliases import NONE, VERDICT, Answering, ChampionMoved
from stages.registry.gate import Answered, Duel, decide
from stages.tasks.protocol import Task

PARAMS = load()["sketch"]
SKETCH, FORECAST = Task("sketch").description(), Task("forecast").description()
BEATEN = {"accuracy": 0.9, "baseline_linear_accuracy": 0.45, "baseline_majority_accuracy": 0.07}


def answered(version: str, value: float) -> Answered:
    return Answered(version=version, value=value, low=value - 0.01, high=value + 0.01, unanswered=0)


def duel(chance: float | None, fault: str = "", *, same: bool = False) -> Duel:
    champion = None if chance is None else answered("3", 0.88)
    return Duel(questions=1000, candidate=answered("4", 0.9), champion=champion, fault=fault, chance=chance, same=same)


def with_register(**changed: Any) -> Any:
    return PARAMS.model_copy(update={"register_": PARAMS.register_.model_copy(update=changed)})


def test_without_a_champion_the_baselines_decide():
    verdict = decide(SKETCH, BEATEN, "full", PARAMS, None)
    assert verdict.promoted
    assert verdict.words == "champion: accuracy 0.9 against 0.45 of the linear baseline"


@pytest.mark.parametrize(
    ("description", "metrics"),
    [
        (SKETCH, {**BEATEN, "accuracy": 0.45}),
        (FORECAST, {"mae": 3.3, "baseline_naive_mae": 3.2, "baseline_autoets_mae": 9.0}),
    ],
)
def test_who_does_not_beat_the_hardest_baseline_stays_challenger_whatever_the_champion(description, metrics):
    for other in (None, duel(1.0)):
        verdict = decide(description, metrics, "full", PARAMS, other)
        assert (verdict.promoted, verdict.words.partition(" (")[0]) == (
            False,
            "challenger: does not beat its baselines",
        )


def test_a_metric_without_a_baseline_promotes_nobody():
    assert decide(SKETCH, {"accuracy": 1.0}, "full", PARAMS, None).words == "challenger: no baseline was measured"


@pytest.mark.parametrize("mode", ["overfit", "smoke"])
def test_a_training_that_answers_a_question_gives_no_champion(mode):
    assert not decide(SKETCH, BEATEN, mode, PARAMS, duel(1.0)).promoted


@pytest.mark.parametrize(("chance", "promoted"), [(0.5, False), (0.899, False), (0.9, True), (1.0, True)])
def test_the_champion_must_be_beaten_with_the_chance_that_params_ask_for(chance, promoted):
    verdict = decide(SKETCH, BEATEN, "full", with_register(confidence=0.9), duel(chance))
    assert verdict.promoted == promoted
    assert f"on 1000 questions 0.9 against 0.88 of version 3, better with a chance of {chance:.1%}" in verdict.words


def test_who_answers_as_the_champion_does_takes_its_place_unless_a_person_is_to_say_so():
    verdict = decide(SKETCH, BEATEN, "full", PARAMS, duel(0.5, same=True))
    assert verdict.promoted
    assert verdict.words.endswith("; on 1000 questions the same answers as version 3")
    assert not decide(SKETCH, BEATEN, "full", with_register(promotion="approval"), duel(0.5, same=True)).promoted
    assert not decide(SKETCH, {**BEATEN, "accuracy": 0.4}, "full", PARAMS, duel(0.5, same=True)).promoted


def test_a_champion_without_answers_leaves_it_to_the_baselines_and_the_verdict_says_so():
    verdict = decide(SKETCH, BEATEN, "full", PARAMS, duel(None, "version 3: OSError: no such file"))
    assert verdict.promoted
    assert verdict.words.endswith("; the champion before could not be asked: version 3: OSError: no such file")


def test_with_approval_the_gate_moves_nothing_but_says_what_it_found():
    verdict = decide(SKETCH, BEATEN, "full", with_register(promotion="approval"), duel(0.99))
    assert not verdict.promoted
    assert verdict.words.startswith("challenger: waits for approval (")
    assert "99.0%" in verdict.words


class Questions:
    """A test set of ten rows; what a model answers to each is what it scores there."""

    def examples(self, prepared: Path, raw: Path, limit: int) -> pd.DataFrame:
        return pd.DataFrame({"row": range(limit)})

    def scores(self, answers: pd.DataFrame, prepared: Path, raw: Path, limit: int) -> Any:
        return mean(answers["right"].to_numpy(dtype=np.float64))


class Model:
    """Answers a share of the rows rightly, in words of its own; None: breaks."""

    def __init__(self, share: float | None, words: str = "") -> None:
        self.share, self.words = share, words

    def predict(self, rows: pd.DataFrame, params: dict[str, Any]) -> pd.DataFrame:
        if self.share is None:
            raise KeyError("an old column at https://me:hunter2@host")
        right = np.arange(len(rows)) < self.share * len(rows)
        return pd.DataFrame({"right": right, "error": [None if ok else "?" for ok in right], "words": self.words})


class Store:
    """An alias, tags and artifacts in memory."""

    def __init__(self, champion: str) -> None:
        self.champion, self.tags, self.artifacts = champion, dict[str, str](), dict[str, Any]()

    def log_text(self, run_id: str, text: str, path: str) -> None:
        self.artifacts[path] = json.loads(text)

    def set_model_version_tag(self, name: str, version: str, key: str, value: str) -> None:
        self.tags[f"{version} {key}"] = value

    def get_model_version(self, name: str, version: str) -> Any:
        verdict = self.tags.get(f"{version} {VERDICT}")
        return SimpleNamespace(tags={VERDICT: verdict} if verdict else {})


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, float | None]:
    """The share of right answers by version; the candidate is version 9. Its outputs lie in a folder of the test."""
    shares: dict[str, float | None] = {}
    monkeypatch.chdir(tmp_path)
    for path, content in {
        "metrics/sketch.json": BEATEN,
        "weights/sketch/network.json": {"training": {"mode": "full"}},
    }.items():
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(json.dumps(content))
    for name in ("prepared", "raw"):
        (tmp_path / "data" / "sketch" / name).mkdir(parents=True)

    def with_alias(store: Store, name: str, alias: str) -> Any:
        return None if store.champion == NONE else SimpleNamespace(version=store.champion)

    def move(store: Store, answering: Answering, *, before: str, tags: dict[str, str]) -> None:
        if store.champion != before:
            raise ChampionMoved
        store.champion = answering.version

    monkeypatch.setattr(gate, "with_alias", with_alias)
    monkeypatch.setattr(gate, "move", move)
    monkeypatch.setattr(gate, "load", lambda name, version: Model(shares[version]))
    monkeypatch.setattr(Task, "comparison", lambda task: Questions())
    return shares


def judged(store: Any, share: float, words: str = "") -> str:
    answering = Answering("sketch-classifier", "9", Model(share, words))
    return gate.judge(store, Task("sketch"), PARAMS, answering, "run", "gate.json")


def test_what_a_verdict_stands_on_is_kept(registry):
    registry["3"] = 0.5
    store = Store("3")
    assert judged(store, 0.6).startswith("champion: ")
    kept = store.artifacts["gate.json"]
    assert (kept["promoted"], kept["confidence"], kept["baselines"]) == (
        True,
        0.9,
        {"baseline_linear_accuracy": 0.45, "baseline_majority_accuracy": 0.07},
    )
    assert kept["duel"]["questions"] == PARAMS.register_.comparison_examples
    assert (kept["duel"]["candidate"]["value"], kept["duel"]["champion"]["value"]) == (0.6, 0.5)
    assert (kept["duel"]["candidate"]["unanswered"], kept["duel"]["chance"]) == (400, 1.0)
    assert (store.champion, store.tags[f"9 {VERDICT}"]) == ("9", kept["verdict"])


def test_models_that_are_as_good_as_each_other_change_nothing(registry):
    registry["3"] = 0.5
    store = Store("3")
    assert "better with a chance of 50.0%" in judged(store, 0.5, "it answers otherwise")
    assert store.champion == "3"


def test_new_code_that_gives_the_same_answers_becomes_champion(registry):
    registry["3"] = 0.5
    store = Store("3")
    assert judged(store, 0.5).endswith("on 1000 questions the same answers as version 3")
    assert (store.champion, store.artifacts["gate.json"]["duel"]["same"]) == ("9", True)


ANSWERS = pd.DataFrame({"chance": [0.25, 1.0], "names": [["cat"], ["dog", "fish"]], "error": [None, "?"]})


@pytest.mark.parametrize(
    ("ours", "same"),
    [
        (
            ANSWERS.assign(chance=np.array([0.25, 0.999999], dtype=np.float32), more=1),
            True,
        ),  # a column more, another order of adding
        (ANSWERS.assign(chance=[0.25, 0.999]), False),
        (ANSWERS.assign(names=pd.Series([["cat"], ["dog"]])), False),
        (ANSWERS.assign(error=pd.Series([None, "!"])), False),
        (ANSWERS.drop(columns="names"), False),
        (ANSWERS[:1], False),
    ],
)
def test_answers_are_the_same_where_all_that_the_champion_says_is_said(ours, same):
    assert gate._hold(ours, ANSWERS) == same


def test_a_champion_that_breaks_is_named_without_its_secrets(registry):
    registry["3"] = None
    store = Store("3")
    verdict = judged(store, 0.5)
    assert "the champion before could not be asked: version 3: KeyError: 'an old column at https://host'" in verdict
    assert store.champion == "9"


def test_a_champion_that_another_has_made_meanwhile_is_the_one_to_beat(registry, monkeypatch):
    registry |= {"3": 0.5, "8": 0.9}
    store, ask = Store("3"), gate.load

    def slow(name: str, version: str) -> Any:
        store.champion = "8"  # by another machine, while this one asks version 3
        return ask(name, version)

    monkeypatch.setattr(gate, "load", slow)
    assert "0.6 against 0.9 of version 8" in judged(store, 0.6)
    assert store.champion == "8"


def test_who_loses_the_alias_at_once_is_compared_with_who_took_it(registry, monkeypatch):
    registry |= {"3": 0.5, "8": 0.9}
    store, move = Store("3"), gate.move

    def overtaken(store: Any, answering: Answering, *, before: str, tags: dict[str, str]) -> None:
        move(store, answering, before=before, tags=tags)
        store.champion = "8"

    monkeypatch.setattr(gate, "move", overtaken)
    assert judged(store, 0.6).startswith("challenger: not better than the champion")
    assert store.champion == "8"


def test_a_champion_without_a_verdict_was_made_by_a_registration_that_was_cut_short(registry):
    store = Store("9")
    assert judged(store, 0.6) == "champion: made so by a registration that was cut short"
    assert (store.champion, len(store.artifacts)) == ("9", 0)


def test_without_the_test_set_nothing_is_judged(registry):
    registry["3"] = 0.5
    Path("data/sketch/raw").rmdir()
    store = Store("3")
    with pytest.raises(ValueError, match="version 9 is not judged yet: .* data/sketch/raw is not here; `dvc checkout"):
        judged(store, 0.6)
    assert not store.tags
