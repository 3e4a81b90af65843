"""A task whose params choose its metric is judged by that one everywhere: metrics file, card, gate, tables."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from stages import evaluate
from stages.evaluation import card
from stages.evaluation.bootstrap import Scores, mean
from stages.evaluation.report import Report, headline_metric
from stages.models import weights
from stages.params import load
from stages.paths import Paths
from stages.provenance import hashes
from stages.registry.decision import METRIC, Decision, metric_of
from stages.registry.gate import decide
from stages.tasks.protocol import Task

REPOSITORY = Path(__file__).resolve().parents[2]
TRANSLATOR = Task("translation").description()
PARAMS = load(REPOSITORY / "params.yaml")["translation"]
# Of sentences: hardly one is a reference to the character, and copying the source is right where it is a name.
SENTENCES: dict[str, Any] = {
    **{"exact_match": 0.0, "baseline_copy_exact_match": 0.01, "chrf": 62.0, "baseline_copy_chrf": 15.0},
    **{"baseline_nearest_exact_match": 0.0, "baseline_nearest_chrf": 14.0},
    "signature": "data:c5.dir|split:test|n:1000|seed:1",
}


def test_the_gate_judges_by_the_metric_that_the_metrics_file_names() -> None:
    assert decide(TRANSLATOR, SENTENCES, "full", PARAMS, None).decision is Decision.CHALLENGER_LOST
    verdict = decide(TRANSLATOR, {**SENTENCES, "metric": "chrf"}, "full", PARAMS, None)
    assert (verdict.decision, verdict.reason) == (Decision.CHAMPION, "chrf 62 against 15 of the copy baseline")


def test_a_version_says_by_a_tag_what_it_was_judged_by() -> None:
    version: Any = SimpleNamespace(tags={"unroll.content": "x", f"{METRIC}chrf": "62.0"})
    assert metric_of(version) == "chrf"
    assert metric_of(SimpleNamespace(tags={})) == ""  # type: ignore[arg-type]


@pytest.mark.parametrize(("chosen", "named"), [("", None), ("exact_match", None), ("chrf", "chrf")])
def test_the_metrics_file_and_the_card_name_a_metric_that_is_not_the_tasks_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: str, named: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = Paths("translation", "translation")
    paths.network.parent.mkdir(parents=True)
    paths.network.write_text('{"training": {"seed": 1, "threads": 1}}')
    cards: list[str] = []

    def measure(network: object, folder: Path, params: object, report: Report) -> None:
        report.metric = chosen
        parts: dict[str, Scores] = {"chrf": mean(np.array([60.0, 64.0])), "exact_match": mean(np.zeros(2))}
        report.add_scores(parts)

    task: Any = SimpleNamespace(
        paths=paths,
        description=lambda: TRANSLATOR,
        model=lambda: SimpleNamespace(build=None),
        evaluate=lambda: SimpleNamespace(evaluate=measure),
    )
    monkeypatch.setattr(weights, "load_network", lambda *_: (SimpleNamespace(to=lambda device: None), {}))
    monkeypatch.setattr(hashes, "content_md5", lambda folder: "c5.dir")

    def model_card(task: object, params: object, report: Report, *, signature: str) -> str:
        cards.append(report.metric)
        return ""

    monkeypatch.setattr(card, "model_card", model_card)
    evaluate._evaluate(task, PARAMS)
    written = json.loads(paths.metrics.read_text())
    assert written.get("metric") == named
    assert headline_metric(written, TRANSLATOR) == (named or "exact_match")
    assert cards == [chosen]


def test_recipes_of_texts_judge_by_chrf() -> None:
    blocks = [yaml.safe_load(path.read_text()).get("translation") for path in (REPOSITORY / "recipes").glob("*.yaml")]
    assert [block["evaluate"]["metric"] for block in blocks if block] == ["chrf"] * 5
    assert PARAMS.evaluate.model_dump()["metric"] == "exact_match"  # dates have one right answer
