"""A night that has decided to train has the weights that its trainings start from pinned anew, and no other night."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from flows.dag import PlannedStage
from flows.night import night
from flows.night.task_night import TaskNight
from stages import nightly
from stages.data.files import read_json, write_json
from stages.monitoring.retraining import Retraining
from stages.nightly import Answer, SourceNews
from stages.tasks.protocol import Task

NEW = SourceNews(state="new", summary="1 file changed")


class Night:
    """A night at the end of its decisions, whose questions, plan and runs are noted in `done`, in their order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, starts: dict[str, str], answer: Answer | str) -> None:
        self.done: list[Any] = []
        self.warned: list[str] = []
        monkeypatch.setattr(night, "placement", lambda checkout, plan, options: plan)
        made: Any = object.__new__(night._Night)
        made._params = {
            name: SimpleNamespace(train=SimpleNamespace(start_from=start)) for name, start in starts.items()
        }
        made._ask = SimpleNamespace(weights=self._weights(answer))
        made._log = SimpleNamespace(warning=lambda text, *values: self.warned.append(text % values))
        made._options = SimpleNamespace(targets=lambda: None, force=False)
        made._checkout = None
        made._pipeline, made._plan = self, "as it was before the weights were pinned"
        made._runs = SimpleNamespace(
            states={}, run=lambda plan: self.done.append(("run", [stage.name for stage in plan]))
        )
        self.night = made

    def _weights(self, answer: Answer | str) -> Callable[[Sequence[str]], dict[str, Answer | str]]:
        def asked(names: Sequence[str]) -> dict[str, Answer | str]:
            self.done.append(("weights", list(names)))
            return dict.fromkeys(names, answer)

        return asked

    def plan(self, targets: object) -> tuple[PlannedStage, ...]:
        self.done.append("plan")
        names = self.night._params
        return tuple(PlannedStage(name=f"train@{name}", verdict="run", reasons=("data",)) for name in names)

    def decided(self, **retrain: bool) -> None:
        """Decide for each owner of data, and go on."""
        tasks = {owner: [name for name in self.night._params if _owner(name) == owner] for owner in retrain}
        self.night._nights = [
            TaskNight(
                owner=owner,
                news=NEW,
                before=None,
                waiting=tuple(tasks[owner]),
                decision=Retraining(trains, "on_alarm"),
            )
            for owner, trains in retrain.items()
        ]
        self.night._run_models()


def _owner(name: str) -> str:
    return Task(name).description().dataset_task


def test_what_trains_is_pinned_before_the_plan_is_made_that_it_is_part_of(monkeypatch: pytest.MonkeyPatch) -> None:
    starts = {"forecast": "models:/forecaster@champion", "sketch": "", "drawing": "older", "video": "older"}
    found = Night(monkeypatch, starts, Answer())
    found.decided(forecast=True, sketch=True, video=False)
    ran = ["train@forecast", "train@sketch", "train@drawing"]
    assert found.done == [("weights", ["forecast", "drawing"]), "plan", ("run", ran)]
    assert found.warned == []


def test_where_the_registry_is_away_it_starts_from_what_was_pinned_before(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Night(monkeypatch, {"forecast": "models:/forecaster@champion"}, "MLflow is away")
    found.decided(forecast=True)
    assert found.done[-1] == ("run", ["train@forecast"])
    assert found.warned == ["forecast: training starts from the weights pinned earlier: MLflow is away"]


def test_the_question_moves_the_pin_to_what_the_weights_are_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    older = tmp_path / "older"
    older.mkdir()
    params = {name: SimpleNamespace(train=SimpleNamespace(start_from=str(older))) for name in ("sketch", "video")}
    monkeypatch.setattr("stages.params.load", lambda: params)
    monkeypatch.setattr("sys.argv", ["nightly", "weights", "sketch", "--answers", str(tmp_path / "answers")])
    pin = Task("sketch").paths.weights_pin
    write_json(pin, {})
    nightly.main()
    fault = json.loads((tmp_path / "answers" / "sketch.json").read_text())["fault"]
    assert fault.startswith(f"{older}: no weights.safetensors there")
    assert read_json(pin) == {}
    found = []
    for number in (1.0, 2.0):
        save_file({"weight": np.array([number])}, older / "weights.safetensors")
        nightly.main()
        assert json.loads((tmp_path / "answers" / "sketch.json").read_text())["fault"] == ""
        found.append(read_json(pin)["files"]["weights.safetensors"]["sha256"])
    assert found[0] != found[1]
    assert not Task("video").paths.weights_pin.exists()
