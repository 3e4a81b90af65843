"""The versions that answer on the page: loaded by alias through MLflow, and loaded again when an alias moves.

A thread asks the registry every few seconds. While it loads another version, the earlier one goes on answering.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from stages.data.files import read_json
from stages.evaluation.report import headline_metric, with_interval
from stages.paths import NETWORK_NAME
from stages.progress_bar import tell
from stages.registry.decision import CHALLENGER, CHAMPION, METRIC, metric_of
from stages.registry.versions import CARD_FILE, CONTENT, METRICS_FILE, folder
from stages.tasks.protocol import Task
from stages.tracking.store import found_or_none, store_error, without_credentials

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

ALIASES = (CHAMPION, CHALLENGER)
BOTH = "both"

_POLL_SECONDS = 3.0
_LONGEST_REASON = 600  # characters of why a model refuses


class Refused(ValueError):
    """A model does not answer; the message says why, in its own words."""


@dataclass(frozen=True, kw_only=True)
class Version:
    """A registered version that is loaded, and what the page says of it."""

    name: str
    number: str
    metric: str  # `accuracy 0.9638 [0.9514, 0.9743]`; empty where the version does not say
    card: str  # Markdown; empty where the version has none
    classes: Sequence[str]  # that the model knows; empty where it knows none
    params: frozenset[str]  # of its signature, as are inputs and outputs
    inputs: frozenset[str]
    outputs: frozenset[str]
    model: Any  # a pyfunc
    # One answer of a model at a time: several would share the same few processors, and each would be late.
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def _reporting(self) -> dict[str, str]:
        return {"on_error": "report"} if "on_error" in self.params else {}

    def offers(self, param: str, *outputs: str) -> bool:
        """Whether the version has an optional answer: the param that asks for it, and the columns it gives."""
        return param in self.params and self.outputs >= set(outputs)

    def predict(self, rows: Sequence[Mapping[str, Any]], **params: Any) -> pd.DataFrame:
        """The answer to some rows. Raises Refused with the model's reason where it answers none of them."""
        return self.predict_frame(pd.DataFrame(list(rows)), **params)

    def predict_frame(self, frame: pd.DataFrame, **params: Any) -> pd.DataFrame:
        """The same for a frame, whose other columns the version does not see. A row that cannot be answered has a text
        in `error` if another can.
        """
        from mlflow.exceptions import MlflowException

        frame = frame[[name for name in frame if name in self.inputs]]
        try:
            with self.lock:
                answer: pd.DataFrame = self.model.predict(frame, params=params | self._reporting)
        except MlflowException as error:
            raise Refused(str(error.message)[:_LONGEST_REASON]) from None
        reasons = answer["error"].dropna() if "error" in answer else pd.Series(dtype=str)
        if len(reasons) == len(answer):
            raise Refused(str(reasons.iloc[0])[:_LONGEST_REASON] if len(reasons) else "the model gives no answer")
        return answer


class Models:
    """The loaded versions of some tasks' models, by alias."""

    def __init__(self, client: MlflowClient, tasks: Sequence[str]) -> None:
        self._client = client
        self.names = {task: Task(task).description().model_name for task in tasks}
        self._loaded: dict[tuple[str, str], Version] = {}  # task and alias
        self.ready = False  # whether all have been asked for once
        self.fault = ""  # what kept the registry from answering the last time; empty where it did

    def get(self, task: str, alias: str) -> Version | None:
        """The version that an alias of a task's model names; None where there is none yet."""
        return self._loaded.get((task, alias))

    def refresh(self) -> None:
        """Load what the aliases name now, unless it is loaded. What cannot be loaded leaves the earlier version."""
        fault = ""
        for task in self.names:
            for alias in ALIASES:
                try:
                    self._refresh(task, alias)
                except Exception as error:  # of the store, or of a model's own code
                    line = store_error(error) or f"{type(error).__name__}: {error}"
                    fault = f"{self.names[task]}@{alias}: {without_credentials(line)}"[:_LONGEST_REASON]
        if fault and fault != self.fault:
            tell(f"unroll: demo: {fault}")
        self.fault, self.ready = fault, True

    def watch(self) -> None:
        """Refresh now and from now on, in a thread that ends with the process."""

        def watch() -> None:
            while True:
                self.refresh()
                time.sleep(_POLL_SECONDS)

        threading.Thread(target=watch, name="registry", daemon=True).start()

    def _refresh(self, task: str, alias: str) -> None:
        name = self.names[task]
        version = found_or_none(lambda: self._client.get_model_version_by_alias(name, alias))
        if version is None:
            self._loaded.pop((task, alias), None)
            return
        known = self._loaded.get((task, alias))
        if known and known.number == str(version.version):
            return
        same = (self._loaded.get((task, other)) for other in ALIASES)
        twin = next((each for each in same if each and each.number == str(version.version)), None)
        if twin is None:
            tell(f"loading {name} version {version.version}")
        self._loaded[task, alias] = twin or _load(task, version)


def aliases(choice: str) -> tuple[str, ...]:
    """The aliases of a choice; of one that the page does not offer, the champion's."""
    if choice == BOTH:
        return ALIASES
    return (choice,) if choice in ALIASES else (CHAMPION,)


def _load(task: str, version: ModelVersion) -> Version:
    import mlflow.pyfunc
    from mlflow.artifacts import download_artifacts

    # By the number that the alias stood for: the page says this number, and the alias may move meanwhile.
    local = Path(download_artifacts(f"models:/{version.name}/{version.version}"))
    model = mlflow.pyfunc.load_model(str(local))
    signature = model.metadata.signature
    metric, card = _described(task, version)
    loaded = Version(
        name=version.name,
        number=str(version.version),
        metric=metric,
        card=card,
        classes=_classes(local),
        params=frozenset(param.name for param in (signature.params or [])),
        inputs=frozenset(model.metadata.get_input_schema().input_names()),
        outputs=frozenset(signature.outputs.input_names() if signature.outputs else []),
        model=model,
    )
    _warm_up(task, loaded)
    return loaded


def _warm_up(task: str, version: Version) -> None:
    """Ask a version once: what it compiles at its first answer, no visitor waits for."""
    columns = version.model.metadata.get_input_schema().input_names()
    with tempfile.TemporaryDirectory(dir=os.environ.get("UNROLL_CLIPS")) as folder, suppress(Refused):
        version.predict(Task(task).rows().example(Path(folder), columns))


def _described(task: str, version: ModelVersion) -> tuple[str, str]:
    """Metric with interval, and card, as the version's run keeps them; what it lacks is empty."""
    from mlflow.artifacts import load_dict, load_text
    from mlflow.exceptions import MlflowException

    metric, card = metric_of(version), ""
    text = f"{metric} {version.tags[f'{METRIC}{metric}']}" if metric else ""
    where = f"runs:/{version.run_id}/{folder(version.tags.get(CONTENT, ''))}"
    with suppress(MlflowException, OSError, ValueError, KeyError):  # a version that something else has registered
        metrics = load_dict(f"{where}/{METRICS_FILE}")
        metric = headline_metric(metrics, Task(task).description())
        text = f"{metric} {with_interval(metrics, metric)}"
    with suppress(MlflowException, OSError, ValueError):
        card = load_text(f"{where}/{CARD_FILE}")
    return text, card


def _classes(local: Path) -> Sequence[str]:
    for path in sorted(local.glob(f"artifacts/**/{NETWORK_NAME}")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            return tuple(str(name) for name in read_json(path)["data"]["classes"])
    return ()
