"""The gate's rules, without a store: what must be beaten, by how much, and what happens when others are faster."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stages.evaluation.bootstrap import mean
from stages.models.learned import Identities, Learned
from stages.params import load
from stages.provenance.hashes import content_md5
from stages.registry import gate
from stages.registry.champion import NONE, WEIGHTS, ChampionMoved, LoadedModel
from stages.registry.decision import (
    CHAMPION,
    DECISION,
    OVERRIDES_VARIABLE,
    REASON,
    Decision,
    Verdict,
    write_verdict,
)
from stages.registry.gate import Comparison, Evaluation, decide
from stages.registry.more_learned import MoreLearned, more_learned
from stages.tasks.protocol import Task

PARAMS, FORECAST_PARAMS = load()["sketch"], load()["forecast"]
SKETCH, FORECAST = Task("sketch").description(), Task("forecast").description()
SIGNATURE = "data:0123.dir|split:test|n:1049|seed:1|torch:2.13.0"
BEATEN = {
    "accuracy": 0.9,
    "baseline_linear_accuracy": 0.45,
    "baseline_majority_accuracy": 0.07,
    "signature": SIGNATURE,
}


def evaluation(version: str, value: float) -> Evaluation:
    return Evaluation(version=version, value=value, low=value - 0.01, high=value + 0.01, unanswered=0)


def comparison(chance: float | None, fault: str = "", **changes: Any) -> Comparison:
    champion = None if chance is None else evaluation("3", 0.88)
    found = Comparison(
        examples=1000,
        new=1000,
        total=1000,
        candidate=evaluation("4", 0.9),
        champion=champion,
        fault=fault,
        chance=chance,
        same=False,
        same_weights=False,
    )
    return replace(found, **changes)


def with_register(**changed: Any) -> Any:
    return PARAMS.model_copy(update={"register_": PARAMS.register_.model_copy(update=changed)})


def test_without_a_champion_the_baselines_decide():
    verdict = decide(SKETCH, BEATEN, "full", PARAMS, None)
    assert verdict == Verdict(Decision.CHAMPION, "accuracy 0.9 against 0.45 of the linear baseline")


FORECASTS = {"naive": 3.2, "seasonal_naive": 4.0, "autoets": 9.0, "autotheta": 9.0}


def of_forecasts(mae: float, **others: float) -> dict[str, Any]:
    baselines = {f"baseline_{name}_mae": value for name, value in {**FORECASTS, **others}.items()}
    return {"mae": mae, **baselines, "signature": SIGNATURE}


def test_who_does_not_beat_the_hardest_baseline_stays_challenger_whatever_the_champion():
    for other in (None, comparison(1.0)):
        for verdict in (
            decide(SKETCH, {**BEATEN, "accuracy": 0.45}, "full", PARAMS, other),
            decide(FORECAST, of_forecasts(3.3), "full", FORECAST_PARAMS, other),
        ):
            assert verdict.decision is Decision.CHALLENGER_LOST
            assert verdict.reason.startswith("does not beat its baselines (")


def test_a_baseline_that_is_better_is_noted_first_and_stops_nobody_unless_it_must_be_beaten():
    metrics = of_forecasts(2.5, lightgbm=2.4, ridge=2.6)
    verdict = decide(FORECAST, metrics, "full", FORECAST_PARAMS, None)
    assert verdict.decision is Decision.CHAMPION
    assert verdict.reason.startswith(
        "note: lightgbm, which is not in register.must_beat, has a lower mae: 2.4000 against 2.5000; "
        "mae 2.5 against 3.2"
    )
    asked = FORECAST_PARAMS.register_.model_copy(update={"must_beat": ["naive", "lightgbm"]})
    strict = FORECAST_PARAMS.model_copy(update={"register_": asked})
    verdict = decide(FORECAST, metrics, "full", strict, None)
    assert verdict == Verdict(
        Decision.CHALLENGER_LOST, "does not beat its baselines (mae 2.5 against 2.4 of the lightgbm baseline)"
    )
    better = decide(FORECAST, of_forecasts(2.3, lightgbm=2.4, ridge=2.6), "full", FORECAST_PARAMS, None)
    assert better == Verdict(
        Decision.CHAMPION, "mae 2.3 against 3.2 of the naive baseline (the best of register.must_beat)"
    )


def test_a_baseline_that_must_be_beaten_and_was_not_measured_promotes_nobody():
    metrics = {key: value for key, value in of_forecasts(2.5).items() if "autotheta" not in key}
    verdict = decide(FORECAST, metrics, "full", FORECAST_PARAMS, None)
    assert verdict == Verdict(Decision.CHALLENGER_LOST, "mae was not measured for the baseline autotheta")


def test_a_metric_without_a_baseline_promotes_nobody():
    verdict = decide(SKETCH, {"accuracy": 1.0}, "full", PARAMS, None)
    assert verdict == Verdict(Decision.CHALLENGER_LOST, "no baseline was measured")


@pytest.mark.parametrize("mode", ["overfit", "smoke"])
def test_a_training_that_answers_a_question_gives_no_champion(mode):
    assert decide(SKETCH, BEATEN, mode, PARAMS, comparison(1.0)).decision is Decision.CHALLENGER_MODE


@pytest.mark.parametrize(("chance", "promoted"), [(0.5, False), (0.899, False), (0.9, True), (1.0, True)])
def test_the_champion_must_be_beaten_with_the_chance_that_params_ask_for(chance, promoted):
    verdict = decide(SKETCH, BEATEN, "full", with_register(confidence=0.9), comparison(chance))
    assert verdict.decision is (Decision.CHAMPION if promoted else Decision.CHALLENGER_LOST)
    shown = f"on 1000 test examples 0.9 against 0.88 of version 3, better with a chance of {chance:.1%}"
    assert shown in verdict.reason


def test_who_answers_as_the_champion_does_takes_its_place_unless_a_person_is_to_say_so():
    same = comparison(0.5, same=True)
    verdict = decide(SKETCH, BEATEN, "full", PARAMS, same)
    assert verdict.decision is Decision.CHAMPION
    assert verdict.reason.endswith("; on 1000 test examples the same answers as version 3")
    waiting = decide(SKETCH, BEATEN, "full", with_register(promotion="approval"), same)
    assert waiting.decision is Decision.CHALLENGER_WAITING
    lost = decide(SKETCH, {**BEATEN, "accuracy": 0.4}, "full", PARAMS, same)
    assert lost.decision is Decision.CHALLENGER_LOST


def test_with_the_champions_own_weights_its_answers_count_and_no_number_of_another_hour():
    measured_badly = {**BEATEN, "accuracy": 0.4}  # by a classifier of three epochs, say
    same = comparison(0.5, same=True, same_weights=True)
    verdict = decide(SKETCH, measured_badly, "full", PARAMS, same)
    assert verdict.decision is Decision.CHAMPION
    assert verdict.reason == "the same weights and on 1000 test examples the same answers as version 3"
    few = replace(same, examples=5, new=5, total=5)  # a fix reaches users, however small the test set
    assert decide(SKETCH, measured_badly, "full", PARAMS, few).decision is Decision.CHAMPION
    worse = comparison(0.5, same_weights=True)
    assert decide(SKETCH, BEATEN, "full", PARAMS, worse).decision is Decision.CHALLENGER_LOST
    silent = comparison(None, "version 3: OSError: no such file", same_weights=True)
    assert decide(SKETCH, measured_badly, "full", PARAMS, silent).decision is Decision.CHALLENGER_LOST


def test_on_few_examples_a_champion_stays_and_the_new_one_waits():
    few = comparison(1.0, examples=199, new=199, total=1049)
    verdict = decide(SKETCH, BEATEN, "full", PARAMS, few)
    assert verdict.decision is Decision.CHALLENGER_FEW_EXAMPLES
    assert verdict.reason.startswith("199 examples to compare on; register.min_examples is 200 (accuracy 0.9 against")
    assert "on 199 test examples that neither has learned from, out of 1049, 0.9 against 0.88" in verdict.reason
    enough = replace(few, examples=200, new=200)
    assert decide(SKETCH, BEATEN, "full", PARAMS, enough).decision is Decision.CHAMPION
    assert decide(SKETCH, BEATEN, "full", PARAMS, replace(few, same=True)).decision is Decision.CHALLENGER_FEW_EXAMPLES
    none = comparison(None, "none", examples=0, new=0, total=1049, candidate=None)
    verdict = decide(SKETCH, BEATEN, "full", PARAMS, none)
    assert verdict.decision is Decision.CHALLENGER_FEW_EXAMPLES
    assert "no comparison: one of the two has learned from each of the 1049 test examples" in verdict.reason


MONTH = MoreLearned(unit="days", gained=31, lost=0)  # that the candidate's served network has learned more


@pytest.mark.parametrize(
    ("chance", "promoted"), [(0.05, False), (0.1, False), (0.101, True), (0.41, True), (0.899, True)]
)
def test_who_was_refit_on_more_must_only_not_be_worse(chance, promoted):
    later = comparison(chance, more_learned=MONTH)
    verdict = decide(SKETCH, BEATEN, "full", with_register(confidence=0.9), later)
    shown = f"on 1000 test examples 0.9 against 0.88 of version 3, better with a chance of {chance:.1%}"
    if promoted:
        assert verdict.decision is Decision.CHAMPION
        assert verdict.reason.endswith(f"baseline; has learned 31 days more; not worse: {shown}")
    else:
        assert verdict.decision is Decision.CHALLENGER_LOST
        assert verdict.reason.startswith(
            "has learned 31 days more, but is worse than the champion (register.confidence: 90%)"
        )
        assert shown in verdict.reason


def test_having_learned_more_replaces_nothing_else_that_is_asked():
    later = comparison(0.5, more_learned=MONTH)
    lost = decide(SKETCH, {**BEATEN, "accuracy": 0.4}, "full", PARAMS, later)
    assert lost.reason.startswith("does not beat its baselines (")
    assert decide(SKETCH, BEATEN, "smoke", PARAMS, later).decision is Decision.CHALLENGER_MODE
    few = decide(SKETCH, BEATEN, "full", PARAMS, replace(later, examples=199, new=199))
    assert few.decision is Decision.CHALLENGER_FEW_EXAMPLES
    waiting = decide(SKETCH, BEATEN, "full", with_register(promotion="approval"), later)
    assert waiting.decision is Decision.CHALLENGER_WAITING
    assert "has learned 31 days more; not worse: " in waiting.reason


def test_who_is_better_needs_no_excuse():
    verdict = decide(SKETCH, BEATEN, "full", PARAMS, comparison(0.95, more_learned=MONTH))
    assert (verdict.decision, "not worse" in verdict.reason) == (Decision.CHAMPION, False)


def series(**days: tuple[int, int]) -> Learned:
    return Learned.of(Identities(list(days), np.array(list(days.values()))))


@pytest.mark.parametrize(
    ("ours", "theirs", "text"),
    [
        (series(a=(0, 130)), series(a=(0, 99)), "has learned 31 days more"),
        (series(a=(0, 100)), series(a=(0, 99)), "has learned 1 day more"),
        (series(a=(3, 130)), series(a=(0, 99)), "has learned 31 days more, and 3 less"),
        (series(a=(4, 130)), series(a=(0, 99)), None),  # 4 of 31 are more than a tenth
        (series(a=(0, 99), b=(0, 1499)), series(a=(0, 99)), "has learned 1,500 days more"),
        (
            series(a=(0, 129), b=(0, 129), c=(0, 129), d=(3, 99)),
            series(a=(0, 99), b=(0, 99), c=(0, 99), d=(0, 99)),
            "has learned 90 days more over 3 series, and 3 less",
        ),
        (series(a=(200, 299)), series(a=(0, 49)), None),  # so are 50 of 100
        (series(a=(0, 99)), series(a=(0, 99)), None),
        (series(a=(0, 99)), series(a=(0, 130)), None),
        (series(b=(0, 99)), series(a=(0, 99)), None),  # others are not more
        (Learned.of(Identities("abcdefghijklm")), Learned.of(Identities("abz")), "has learned 11 ids more, and 1 less"),
        (Learned.of(Identities("abc")), Learned.of(Identities("abc")), None),
        (Learned.of(Identities("abc")), series(a=(0, 99)), None),
        (None, Learned.of(Identities("abc")), None),
        (Learned.of(Identities("abc")), None, None),
    ],
)
def test_more_is_what_the_other_has_not_learned_and_only_where_both_say_so(ours, theirs, text):
    found = more_learned(ours, theirs, ours)
    assert (None if found is None else str(found)) == text


def test_what_start_weights_had_learned_counts_for_nothing_more():
    champion, today = series(a=(0, 99)), series(a=(90, 99))
    assert more_learned(series(a=(0, 999)), champion, today) is None
    found = more_learned(series(a=(0, 999)), champion, series(a=(90, 130)))
    assert str(found) == "has learned 31 days more"  # and nothing less: the start weights had learned the days before


def test_what_came_after_its_training_is_nothing_that_a_version_has_learned():
    learned, today = series(a=(0, 99)), series(a=(0, 130))
    assert more_learned(learned, learned, today) is None
    assert str(more_learned(series(a=(0, 110)), learned, today)) == "has learned 11 days more"
    ids = Learned.of(Identities("abc"))
    assert more_learned(ids, ids, Learned.of(Identities("abcdef"))) is None


def test_of_more_ids_than_are_kept_those_are_compared_that_both_would_hold(monkeypatch):
    names = [f"drawing {number}" for number in range(1000)]
    for module in ("stages.models.learned", "stages.registry.more_learned"):
        monkeypatch.setattr(f"{module}.MOST_IDS", 250)
    ours, theirs = (Learned.of(Identities(some)) for some in (names, names[:500]))
    assert more_learned(theirs, theirs, theirs) is None
    assert more_learned(theirs, ours, theirs) is None
    found = more_learned(ours, theirs, ours)
    assert found is not None
    assert (found.lost, 80 < found.gained < 170) == (0, True)  # half of the 250 lowest


def test_without_a_champion_few_examples_are_said_and_stop_nobody():
    few = {**BEATEN, "signature": SIGNATURE.replace("1049", "72")}
    for beside in (None, comparison(None, "version 3: OSError")):
        verdict = decide(SKETCH, few, "full", PARAMS, beside)
        assert verdict.decision is Decision.CHAMPION
        assert verdict.reason.endswith("; measured on only 72 examples; register.min_examples is 200")


def test_a_champion_without_answers_leaves_it_to_the_baselines_and_the_verdict_says_so():
    verdict = decide(SKETCH, BEATEN, "full", PARAMS, comparison(None, "version 3: OSError: no such file"))
    assert verdict.decision is Decision.CHAMPION
    assert verdict.reason.endswith("; the previous champion did not answer: version 3: OSError: no such file")


def test_with_approval_the_gate_moves_nothing_but_says_what_it_found():
    verdict = decide(SKETCH, BEATEN, "full", with_register(promotion="approval"), comparison(0.99))
    assert verdict.decision is Decision.CHALLENGER_WAITING
    assert "99.0%" in verdict.reason


class Examples:
    """A test set of a thousand rows; what a model answers to each is what it scores there."""

    def identities(self, prepared: Path) -> Identities:
        return Identities([f"row {number}" for number in range(1000)])

    def examples(self, prepared: Path, raw: Path, chosen: np.ndarray) -> pd.DataFrame:
        return pd.DataFrame({"row": chosen, "price": 1.0})

    def scores(self, answers: pd.DataFrame, prepared: Path, raw: Path, chosen: np.ndarray) -> Any:
        return mean(answers["right"].to_numpy(dtype=np.float64))


class Model:
    """Answers a share of the rows rightly, in words of its own; None: breaks."""

    def __init__(self, share: float | None, words: str = "") -> None:
        self.share, self.words = share, words
        self.metadata = SimpleNamespace(get_input_schema=lambda: SimpleNamespace(input_names=lambda: ["row"]))

    def predict(self, rows: pd.DataFrame, params: dict[str, Any]) -> pd.DataFrame:
        assert list(rows) == ["row"], "a version is asked with its own columns alone"
        if self.share is None:
            raise KeyError("an old column at https://me:hunter2@host")
        right = rows["row"].to_numpy() < self.share * 1000
        return pd.DataFrame({"right": right, "error": [None if ok else "?" for ok in right], "words": self.words})


class Store:
    """An alias, tags and artifacts in memory; the champion has the weights of that md5."""

    def __init__(self, champion: str, weights: str = "others") -> None:
        self.champion, self.weights = champion, weights
        self.tags, self.artifacts = dict[str, str](), dict[str, Any]()

    def log_text(self, run_id: str, text: str, path: str) -> None:
        self.artifacts[path] = json.loads(text)

    def set_model_version_tag(self, name: str, version: str, key: str, value: str) -> None:
        self.tags[f"{version} {key}"] = value

    def get_model_version(self, name: str, version: str) -> Any:
        return SimpleNamespace(description="")

    def update_model_version(self, name: str, version: str, description: str) -> None:
        pass


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, float | None]:
    """The share of right answers by version; the candidate is version 9. Its outputs lie in a folder of the test."""
    shares: dict[str, float | None] = {}
    monkeypatch.chdir(tmp_path)
    for path, content in {
        "metrics/sketch.json": BEATEN,
        "weights/sketch/measured/network.json": {"training": {"mode": "full"}},
    }.items():
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(json.dumps(content))
    for name in ("prepared", "raw"):
        (tmp_path / "data" / "sketch" / name).mkdir(parents=True)
    Learned.of(Identities(["row of another split"])).save(tmp_path / "weights" / "sketch" / "measured")

    def with_alias(store: Store, name: str, alias: str) -> Any:
        tags = {WEIGHTS: store.weights}
        return (
            None if store.champion == NONE else SimpleNamespace(version=store.champion, tags=tags, aliases=[CHAMPION])
        )

    def load_model(name: str, version: str, network: str) -> Model:
        assert network == "measured"
        return Model(shares[version])

    def make_champion(store: Store, candidate: LoadedModel, reason: str, *, champion_version: str) -> None:
        if store.champion != champion_version:
            raise ChampionMoved
        store.champion = candidate.version
        write_verdict(store, candidate.name, candidate.version, Verdict(Decision.CHAMPION, reason))  # type: ignore[arg-type]

    monkeypatch.setattr(gate, "with_alias", with_alias)
    monkeypatch.setattr(gate, "make_champion", make_champion)
    monkeypatch.setattr(gate, "load_model", load_model)
    monkeypatch.setattr(
        gate, "learned_by", lambda task, name, version, *network: Learned.of(Identities(["another row"]))
    )
    monkeypatch.delenv(OVERRIDES_VARIABLE, raising=False)
    monkeypatch.setattr(Task, "comparison", lambda task: Examples())
    return shares


def judged(store: Any, share: float, words: str = "") -> Verdict:
    candidate = LoadedModel("sketch-classifier", "9", Model(share, words))
    gate.judge(store, Task("sketch"), PARAMS, candidate, "run", "gate.json")
    return Verdict(Decision(store.tags[f"9 {DECISION}"]), store.tags[f"9 {REASON}"])


def test_what_a_verdict_stands_on_is_kept(registry):
    registry["3"] = 0.5
    store = Store("3")
    verdict = judged(store, 0.6)
    kept = store.artifacts["gate.json"]
    assert (kept["decision"], kept["reason"], kept["confidence"]) == ("champion", verdict.reason, 0.9)
    assert kept["must_beat"] == ["majority", "linear"]
    assert kept["baselines"] == {"baseline_linear_accuracy": 0.45, "baseline_majority_accuracy": 0.07}
    compared = kept["comparison"]
    assert compared["examples"] == PARAMS.register_.comparison_examples
    assert (compared["candidate"]["value"], compared["champion"]["value"]) == (0.6, 0.5)
    assert (compared["candidate"]["unanswered"], compared["chance"]) == (400, 1.0)
    assert store.champion == "9"


def test_both_are_asked_only_what_neither_has_learned_and_the_reason_says_how_many(registry, monkeypatch):
    registry["3"] = 0.5
    learned = Learned.of(Identities([f"row {number}" for number in range(500)]))  # all that it answers rightly
    monkeypatch.setattr(gate, "learned_by", lambda task, name, version: learned)
    store = Store("3")
    verdict = judged(store, 0.6)
    assert (
        "on 500 test examples that neither has learned from, out of 1000, 0.2 against 0 of version 3" in verdict.reason
    )
    assert store.champion == "9"
    compared = store.artifacts["gate.json"]["comparison"]
    assert (compared["examples"], compared["new"], compared["total"]) == (500, 500, 1000)


def test_what_the_new_one_has_learned_is_not_asked_either(registry):
    registry["3"] = 0.5
    Learned.of(Identities([f"row {number}" for number in range(900)])).save(Path("weights/sketch/measured"))
    store = Store("3")
    verdict = judged(store, 0.95)
    assert verdict.decision is Decision.CHALLENGER_FEW_EXAMPLES
    assert verdict.reason.startswith("100 examples to compare on; register.min_examples is 200")
    assert store.champion == "3"


def test_of_a_version_that_was_refit_the_measured_network_is_asked(registry, monkeypatch):
    registry |= {"3": 0.5, "9": 0.6}
    refit(monkeypatch, ROWS, None)
    verdict = judged(Store("3"), 1.0)  # the served one, which has learned them all
    assert "0.6 against 0.5 of version 3" in verdict.reason


def refit(monkeypatch: pytest.MonkeyPatch, ours: Learned, theirs: Learned | None, today: Learned | None = None) -> None:
    """The candidate was refit on ours, which is today's data but where that is given; the champion's networks have
    learned theirs (served) and something else.
    """
    monkeypatch.setattr(Task, "model", lambda task: SimpleNamespace(learned=lambda prepared, split: today or ours))
    Path("weights/sketch/served").mkdir()
    ours.save(Path("weights/sketch/served"))
    of = {"measured": Learned.of(Identities(["another row"])), "served": theirs}
    monkeypatch.setattr(gate, "learned_by", lambda task, name, version, network="measured": of[network])


ROWS, MORE_ROWS = (Learned.of(Identities([f"row {number}" for number in range(count)])) for count in (1000, 1120))


def test_a_refit_on_more_data_takes_the_place_of_an_equal_and_says_so(registry, monkeypatch):
    registry |= {"3": 0.5, "9": 0.499}
    refit(monkeypatch, MORE_ROWS, ROWS)
    store = Store("3")
    verdict = judged(store, 1.0)
    assert "; has learned 120 ids more; not worse: on 1000 test examples 0.499 against 0.5 of version 3" in (
        verdict.reason
    )
    assert store.champion == "9"
    kept = store.artifacts["gate.json"]["comparison"]
    assert kept["more_learned"] == {"unit": "ids", "gained": 120, "lost": 0, "series": 0}


def test_a_refit_that_only_starts_from_weights_that_learned_more_must_be_better(registry, monkeypatch):
    registry |= {"3": 0.5, "9": 0.499}
    refit(monkeypatch, MORE_ROWS, ROWS, today=ROWS)
    store = Store("3")
    assert judged(store, 1.0).reason.startswith("not better than the champion")
    assert store.champion == "3"


def test_a_refit_on_more_data_that_is_worse_loses(registry, monkeypatch):
    registry |= {"3": 0.5, "9": 0.4}
    refit(monkeypatch, MORE_ROWS, ROWS)
    store = Store("3")
    assert judged(store, 1.0).reason.startswith("has learned 120 ids more, but is worse than the champion")
    assert store.champion == "3"


@pytest.mark.parametrize("theirs", [ROWS, MORE_ROWS, None])
def test_a_refit_on_the_same_data_or_less_or_beside_who_does_not_say_must_be_better(registry, monkeypatch, theirs):
    registry |= {"3": 0.5, "9": 0.499}
    refit(monkeypatch, ROWS, theirs)
    store = Store("3")
    assert judged(store, 1.0).reason.startswith("not better than the champion (register.confidence: 90%)")
    assert store.champion == "3"


def test_a_refit_with_params_of_one_run_alone_makes_no_champion(registry, monkeypatch):
    registry |= {"3": 0.5, "9": 0.499}
    refit(monkeypatch, MORE_ROWS, ROWS)
    monkeypatch.setenv(OVERRIDES_VARIABLE, "sketch.train.epochs=3")
    store = Store("3")
    verdict = judged(store, 1.0)
    assert (store.champion, verdict.decision) == ("3", Decision.CHALLENGER_OVERRIDES)
    assert "The gate's verdict: champion: " in verdict.reason
    assert "not worse" in verdict.reason


def test_two_that_have_learned_everything_between_them_are_not_asked(registry, monkeypatch):
    registry["3"] = 0.5
    learned = Learned.of(Identities([f"row {number}" for number in range(1000)]))
    monkeypatch.setattr(gate, "learned_by", lambda task, name, version: learned)
    assert judged(Store("3"), 0.6).decision is Decision.CHALLENGER_FEW_EXAMPLES


def test_an_older_champion_is_asked_everything_and_the_reason_says_so(registry, monkeypatch):
    registry["3"] = 0.5
    monkeypatch.setattr(gate, "learned_by", lambda task, name, version: None)
    store = Store("3")
    assert "on 1000 test examples (version 3 may have learned from them; no record says) 0.6 against 0.5" in (
        judged(store, 0.6).reason
    )
    assert store.artifacts["gate.json"]["comparison"]["unknown"] == ["3"]


def test_a_champion_whose_files_are_broken_is_not_asked(registry, monkeypatch):
    def broken(task: Task, name: str, version: str) -> Any:
        raise OSError("learned.safetensors is cut off")

    monkeypatch.setattr(gate, "learned_by", broken)
    assert "did not answer: version 3: OSError: learned.safetensors is cut off" in judged(Store("3"), 0.6).reason


def test_the_champions_own_weights_are_known_by_their_md5(registry):
    registry["3"] = 0.5
    Path("metrics/sketch.json").write_text(json.dumps({**BEATEN, "accuracy": 0.1}))
    store = Store("3", weights=content_md5(Path("weights/sketch")))
    assert judged(store, 0.5).reason.endswith(
        "the same weights and on 1000 test examples the same answers as version 3"
    )
    assert store.champion == "9"


def test_params_of_one_run_alone_make_no_champion(registry, monkeypatch):
    registry["3"] = 0.5
    monkeypatch.setenv(OVERRIDES_VARIABLE, "sketch.train.epochs=3")
    for store in (Store("3"), Store(NONE)):
        before = store.champion
        verdict = judged(store, 0.9)
        assert verdict.decision is Decision.CHALLENGER_OVERRIDES
        assert verdict.reason.startswith(
            "trained with params set for this run only (sketch.train.epochs=3); a person may promote it. "
            "The gate's verdict: champion: "
        )
        assert store.champion == before
        assert store.artifacts["gate.json"]["decision"] == "challenger_overrides"


def test_models_that_are_as_good_as_each_other_change_nothing(registry):
    registry["3"] = 0.5
    store = Store("3")
    verdict = judged(store, 0.5, "it answers otherwise")
    assert "better with a chance of 50.0%" in verdict.reason
    assert store.champion == "3"
    assert store.tags == {f"9 {DECISION}": "challenger_lost", f"9 {REASON}": verdict.reason}


def test_new_code_that_gives_the_same_answers_becomes_champion(registry):
    registry["3"] = 0.5
    store = Store("3")
    assert judged(store, 0.5).reason.endswith("on 1000 test examples the same answers as version 3")
    assert (store.champion, store.artifacts["gate.json"]["comparison"]["same"]) == ("9", True)


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
    assert gate.same_answers(ours, ANSWERS) == same


def test_a_champion_that_breaks_is_named_without_its_secrets(registry):
    registry["3"] = None
    store = Store("3")
    reason = judged(store, 0.5).reason
    assert "the previous champion did not answer: version 3: KeyError: 'an old column at https://host'" in reason
    assert store.champion == "9"


def test_a_champion_that_another_has_made_meanwhile_is_the_one_to_beat(registry, monkeypatch):
    registry |= {"3": 0.5, "8": 0.9}
    store, load = Store("3"), gate.load_model

    def slow(name: str, version: str, network: str) -> Any:
        store.champion = "8"  # by another machine, while this one loads version 3
        return load(name, version, network)

    monkeypatch.setattr(gate, "load_model", slow)
    assert "0.6 against 0.9 of version 8" in judged(store, 0.6).reason
    assert store.champion == "8"


def test_who_loses_the_alias_at_once_is_compared_with_who_took_it(registry, monkeypatch):
    registry |= {"3": 0.5, "8": 0.9}
    store, make_champion = Store("3"), gate.make_champion

    def overtaken(store: Any, candidate: LoadedModel, reason: str, *, champion_version: str) -> None:
        make_champion(store, candidate, reason, champion_version=champion_version)
        store.champion = "8"

    monkeypatch.setattr(gate, "make_champion", overtaken)
    verdict = judged(store, 0.6)
    assert verdict.decision is Decision.CHALLENGER_LOST
    assert verdict.reason.startswith("not better than the champion")
    assert store.champion == "8"


def test_who_is_champion_already_is_not_judged_again(registry):
    store: Any = Store("9")
    gate.judge(store, Task("sketch"), PARAMS, LoadedModel("sketch-classifier", "9", Model(0.6)), "run", "gate.json")
    assert (store.champion, len(store.artifacts), store.tags) == ("9", 0, {})


def test_without_the_test_set_nothing_is_judged(registry):
    registry["3"] = 0.5
    Path("data/sketch/raw").rmdir()
    store = Store("3")
    with pytest.raises(ValueError, match="version 9 is not judged yet: .* data/sketch/raw is missing; run `dvc "):
        judged(store, 0.6)
    assert not store.tags
