"""Studies: repeatable, resumable, and pruned by one rule. No training runs here."""

from __future__ import annotations

import subprocess
from collections.abc import Collection
from pathlib import Path

import pytest

from flows.tune.space import SearchError, space
from flows.tune.study import Method, Study, TrialRecord
from flows.tune.study_snapshot import _check_params

REPOSITORY = Path(__file__).resolve().parents[2]
WIDE = space(["forecast.train.learning_rate=log(1e-4, 1e-1)", "forecast.model.hidden_size=log_int(8, 256)"])
NARROW = space(["forecast.model.kind=[gru, lstm]", "forecast.model.layers=int(1, 2)"])


def opened(file: Path, method: Method = "tpe", *, seed: int = 3, prune: bool = True, dimensions=WIDE) -> Study:
    return Study(file, dimensions, method=method, seed=seed, minimise=True, prune=prune)


def tried(
    file: Path, method: Method = "tpe", *, trials: int = 12, cut: Collection[int] = (), seed: int = 3, dimensions=WIDE
) -> list[TrialRecord]:
    """Run a study whose objective falls with the epochs; `cut` are the asks after which its process is killed."""
    study, asks = opened(file, method, seed=seed, dimensions=dimensions), 0
    while suggestion := study.ask(trials):
        asks += 1
        height = float(suggestion.values.get("forecast.train.learning_rate", 0.5))
        if asks in cut:
            study.report(suggestion.number, 0, height + 1)
            study = opened(file, method, seed=seed, dimensions=dimensions)
            continue
        for epoch in range(6):
            if study.report(suggestion.number, epoch, height + 1 / (epoch + 1)):
                study.tell(suggestion.number, "pruned", epochs=epoch + 1)
                break
        else:
            study.tell(suggestion.number, "complete", objective=height, epochs=6)
    return study.records()


@pytest.mark.parametrize("method", ["tpe", "random"])
def test_a_seed_gives_the_same_study_also_when_it_was_killed_in_between(tmp_path: Path, method: Method) -> None:
    whole = tried(tmp_path / "whole.jsonl", method)
    assert tried(tmp_path / "again.jsonl", method) == whole
    assert tried(tmp_path / "cut.jsonl", method, cut=(1, 4, 5, 12)) == whole
    assert tried(tmp_path / "other.jsonl", method, seed=4) != whole
    assert len({str(one.values) for one in whole}) == 12
    assert {"complete", "pruned"} == {one.state for one in whole}


def test_a_study_that_is_done_asks_for_nothing_and_more_trials_go_on(tmp_path: Path) -> None:
    five = tried(tmp_path / "study.jsonl", trials=5)
    assert opened(tmp_path / "study.jsonl").ask(5) is None
    assert tried(tmp_path / "study.jsonl", trials=8)[:5] == five
    assert tried(tmp_path / "study.jsonl", trials=8) == tried(tmp_path / "at_once.jsonl", trials=8)


def test_a_grid_is_tried_point_by_point_and_ends(tmp_path: Path) -> None:
    found = tried(tmp_path / "study.jsonl", "grid", trials=20, cut=(2,), dimensions=NARROW)
    values = [tuple(one.values.values()) for one in found]
    assert values == [("gru", 1), ("gru", 2), ("lstm", 1), ("lstm", 2)]


def test_equal_params_are_tried_once(tmp_path: Path) -> None:
    study = opened(tmp_path / "study.jsonl", "random", dimensions=NARROW)
    suggestions = []
    while one := study.ask(12):  # all at the same time
        suggestions.append(one)
    assert len({str(one.values) for one in suggestions}) == len(suggestions) <= 4
    for one in suggestions:
        study.tell(one.number, "complete", objective=float(one.number), epochs=1)
    duplicates = [one for one in study.records() if one.duplicate_of is not None]
    assert len(study.records()) == 12
    assert len(duplicates) == 12 - len(suggestions)
    for record in duplicates:
        original = study.records()[record.duplicate_of or 0]
        assert (record.values, record.objective, record.state) == (original.values, original.objective, "complete")
        assert record.message == f"the params of trial {original.number}"


def test_the_first_trials_and_epochs_are_not_pruned(tmp_path: Path) -> None:
    study = opened(tmp_path / "study.jsonl", "random")
    pruned_at = []
    for height in (1.0, 2.0, 3.0, 4.0, 9.0):
        suggestion = study.ask(5)
        assert suggestion is not None
        pruned_at.append([epoch for epoch in range(6) if study.report(suggestion.number, epoch, height)])
        study.tell(suggestion.number, "pruned" if pruned_at[-1] else "complete", objective=height)
    # The fifth is worse than the median of 1, 2, 3 and 4; epochs 0 to 2 say little. What is pruned remains so.
    assert pruned_at == [[], [], [], [], [3, 4, 5]]
    best = study.best()
    assert best is not None
    assert (best.number, best.objective) == (0, 1.0)


def test_nothing_is_pruned_where_that_is_off(tmp_path: Path) -> None:
    study = opened(tmp_path / "study.jsonl", "random", prune=False)
    for height in (1.0, 1.0, 1.0, 1.0, 1.0, 9.0):
        suggestion = study.ask(6)
        assert suggestion is not None
        assert not any(study.report(suggestion.number, epoch, height) for epoch in range(9))
        study.tell(suggestion.number, "complete", objective=height)


def test_more_can_be_better(tmp_path: Path) -> None:
    study = Study(tmp_path / "study.jsonl", WIDE, method="random", seed=1, minimise=False, prune=True)
    for height in (1.0, 3.0, 2.0):
        suggestion = study.ask(3)
        assert suggestion is not None
        study.tell(suggestion.number, "complete", objective=height)
    best = study.best()
    assert best is not None
    assert best.number == 1


def test_a_trial_that_failed_is_finished_and_not_the_best(tmp_path: Path) -> None:
    study = opened(tmp_path / "study.jsonl")
    suggestion = study.ask(1)
    assert suggestion is not None
    assert not study.is_finished(suggestion.number)
    study.tell(suggestion.number, "failed", message="train@forecast: loss is nan")
    assert study.is_finished(suggestion.number)
    assert study.best() is None
    assert [(one.state, one.message) for one in study.records()] == [("failed", "train@forecast: loss is nan")]


def test_a_study_of_an_older_params_yaml_is_refused_before_any_trial(tmp_path, monkeypatch):
    text = (REPOSITORY / "params.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(text.replace("    ema_decay:", "    average:"), encoding="utf-8")
    for command in (["init", "--quiet"], ["add", "params.yaml"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    tree = subprocess.run(["git", "write-tree"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        SearchError, match=r"study s: its params.yaml is no longer valid: .*renamed to train\.ema_decay"
    ):
        _check_params("s", tree.strip())
