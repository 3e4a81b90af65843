"""What a task is: the files in its folder, and how the verbs reach them.

    NAME/__init__.py            DESCRIPTION: the registered model's name, the metric it is judged by
    NAME/params.py              Params: what may stand under NAME in params.yaml
    NAME/manifest.yaml          the sources: addresses, sizes, checksums
    NAME/source/download.py     requests(), download(), records(): which raw files, into a folder, what a line is
    NAME/data/                  what the parts share: readers, columns, tokenizers
    NAME/prepare/prepare.py     prepare(): raw files into the sequence store
    NAME/prepare/profile.py     learned(), current(): what training data, or other prepared rows, look like
    NAME/model/network.py       build(), dataset(), learned(): the network, its batches, what it learns from
    NAME/evaluate/evaluate.py   evaluate(): metrics, baselines and pictures on the test split
    NAME/evaluate/card.md       the model's card in words: what it answers, how to load it, limits, sources
    NAME/evaluate/comparison.py identities(), examples(), scores(): the test split as users would send it to any version
    NAME/serve/predictor.py     Predictor: a DataFrame in, a DataFrame out
    NAME/serve/profile.py       read(): what a user's file looks like, read as the registered model reads it
    NAME/corrections.py         correction(): what a user says was right, as the task's own files have it
    NAME/rows.py                groups(), example(): rows for the registered model, from a user's files or made up
    NAME/labelled.py            scores(): the registered model's answers to a user's rows that say what is right
    NAME/forecasts.py           origins(), history(), actuals(): in its place, where the future says what was right

A task that learns from the data of another (`dataset_task`) has no manifest, `source`, `data`, `prepare` and
`serve/profile.py`. Modules are imported on first use: a download never waits for torch. This module imports no
workshop, so that any may import it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from ..paths import Paths

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import date, datetime

    import numpy as np
    import pandas as pd

# Types of the workshops, which lie above this module.
Correction: TypeAlias = Any  # feedback.correction.Correction
Dataset: TypeAlias = Any  # models.batch.Dataset
Host: TypeAlias = Any  # fetch.host.Host
Identities: TypeAlias = Any  # models.learned.Identities
Known: TypeAlias = Any  # preprocessing.profile.Known
Learned: TypeAlias = Any  # models.learned.Learned
Limits: TypeAlias = Any  # feedback.correction.Limits
Network: TypeAlias = Any  # models.network.Network
Observed: TypeAlias = Any  # preprocessing.profile.Observed
Predictor: TypeAlias = Any  # serving.predictor.Predictor
Preparation: TypeAlias = Any  # preprocessing.preparation.Preparation
Records: TypeAlias = Any  # sources.records.Records
Report: TypeAlias = Any  # evaluation.report.Report
Request: TypeAlias = Any  # fetch.Request
Scores: TypeAlias = Any  # evaluation.bootstrap.Scores
Split: TypeAlias = Any  # data.store.Split
TaskParams: TypeAlias = Any  # params.TaskParams


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """A task in the words of its users."""

    model_name: str  # in the MLflow registry
    summary: str  # what the model answers, in a sentence, for those who find it there
    metric: str  # the key of metrics/TASK.json that the gate and the table look at, unless params choose
    dataset_task: str  # the task whose data it learns from: its own name, or that of a task it adds another network to


class Source(Protocol):
    """`source/download.py`"""

    def requests(self, params: Any, folder: Path, host: Host) -> list[Request]:
        """The files that `params` (the task's `source` block) names, with targets in `folder`; none for a sample.

        Only a `host` is asked, for what lies in a folder of its own.
        """

    def download(self, params: Any, folder: Path, host: Host) -> None:
        """Write the raw files that `params` names into the empty `folder`, fetched through `host`."""

    def records(self, params: TaskParams, name: str) -> Records | None:
        """How two versions of a file, by its name in the raw folder, are compared; None: only as a whole."""


class Prepare(Protocol):
    """`prepare/prepare.py`"""

    def prepare(self, raw: Path, params: Any, output: Preparation) -> None:
        """Read the raw files and write sequences, or rejections with a reason, to `output`."""


class Profile(Protocol):
    """`prepare/profile.py`: what is looked at to see whether data have changed."""

    def learned(self, prepared: Path) -> Observed:
        """What the split that a network learns from looks like, of the prepared data in `prepared`."""

    def current(self, prepared: Path, rows: np.ndarray, known: Known) -> Observed:
        """What some rows of the store in `prepared`, ascending, look like to a model that knows `known`."""


class FileProfile(Protocol):
    """`serve/profile.py`"""

    def read(self, groups: Iterable[list[dict[str, Any]]], known: Known) -> Observed:
        """What rows, as `Rows.groups` gives them, look like to a model that knows `known`; those that cannot be read
        are counted by the rules of preprocessing.
        """


class Model(Protocol):
    """`model/network.py`"""

    def build(self, params: Any, data: Mapping[str, Any]) -> Network:
        """A network with fresh weights, from the `model` block and preprocess's `description.json`."""

    def dataset(self, folder: Path, split: Split, params: Any, *, augment: bool) -> Dataset:
        """The examples of one split (`train`, `validation`, `test`) of the prepared data in `folder`, or of several
        together, named in this order.
        """

    def learned(self, folder: Path, split: Split) -> Learned:
        """What a network has learned from that was trained, chosen or calibrated by these splits of the prepared data
        in `folder`.
        """

    def identities(self, folder: Path, rows: np.ndarray) -> Identities:
        """By what each of some rows of the store, whatever its split, is known to what `learned` gives, in order."""


class Judge(Protocol):
    """`model/judge.py`, of a task whose network judges what others make of its data."""

    def judging(self, params: Any) -> TaskParams:
        """The task's params with the `model` and `train` of its judge in place of its own."""


class Evaluate(Protocol):
    """`evaluate/evaluate.py`"""

    def evaluate(self, network: Network, folder: Path, params: TaskParams, report: Report) -> None:
        """Measure the network and the baselines on the test split and draw what a person should see."""


class Comparison(Protocol):
    """`evaluate/comparison.py`: two versions, however old their code, are compared as users meet them."""

    def identities(self, prepared: Path) -> Identities | None:
        """By what each example of the test split is known to `Learned`, in order; None where any number of examples can
        be made up that nobody has learned.
        """

    def examples(self, prepared: Path, raw: Path, chosen: np.ndarray) -> pd.DataFrame:
        """Examples of the test split by their numbers in it, ascending, as a user would send them: rows of the
        registered model's input columns.
        """

    def scores(self, answers: pd.DataFrame, prepared: Path, raw: Path, chosen: np.ndarray, **metric: str) -> Scores:
        """What the answers to these examples, rows of the output columns, add to the task's metric, or to another
        `metric` where the task has an `evaluate.metric` that chooses.

        Raises ValueError where they are not the answers to these examples.
        """


class Rows(Protocol):
    """`rows.py`: rows for any version of the registered model. Imports nothing heavy before it needs it: `python -m
    stages.predict --help` shows what each task reads.
    """

    INPUT: str  # the files a user may name, in a line
    KEY: Mapping[str, str]  # column → MLflow type name: the first columns of the table
    CHUNK_SIZE: int  # rows that are predicted at a time

    def groups(self, source: str, encoding: str = ...) -> Iterator[list[dict[str, Any]]]:
        """Rows that must be predicted together, with the model's input columns and those of KEY.

        `encoding` is that of a text without a byte order mark.
        A task with a KEY has one answer for each row. There, a row with an `error` is not sent to the model. A row has
        a `target` beside its columns where the file says what the right answer is.
        """

    def example(self, folder: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
        """Rows that every version answers; files they name are made in `folder`. `columns` are the version's input
        columns, some of which its own data may have brought.
        """


class Corrections(Protocol):
    """`corrections.py`: what users say was right, as `feedback/` keeps it."""

    LIMITS: Limits
    SUFFIX: str  # of a day's file of lines; empty where each correction is a file of its own, in its label's folder

    def correction(self, record: Mapping[str, Any], moment: datetime) -> Correction:
        """What is kept of a record that was sent at a moment (UTC). Raises FeedbackError where it is none."""

    def identity(self, line: bytes) -> str:
        """The `identity` of the correction that a line was written for. Raises ValueError for another line."""


class Labelled(Protocol):
    """`labelled.py`: a user's rows that say what is right."""

    LABELS: str  # where a user's file says so, in a line

    def scores(
        self, targets: Sequence[str], answers: Sequence[Mapping[str, Any]], params: TaskParams, metric: str
    ) -> Scores:
        """What the registered model's answers, rows of its table in the order of the targets, add to the `metric` that
        it is judged by. A row with an `error` is no right answer.
        """


class Forecasts(Protocol):
    """`forecasts.py`: what a model is asked for the days to come, and what they have brought."""

    def origins(self, prepared: Path) -> dict[str, date]:
        """By series, the first day to forecast: the one after the last of the data."""

    def history(self, prepared: Path, names: list[str]) -> pd.DataFrame:
        """The past of some series, rows of the registered model's input columns."""

    def actuals(self, prepared: Path, since: date) -> pd.DataFrame:
        """What came from a day on, a row for each day that was observed: `unique_id`, `ds`, `y`, and `scale`, what MASE
        divides by, NaN where that is unknown.
        """


@dataclass(frozen=True)
class Task:
    """One task and its modules, each imported on first use. Raises ValueError for a name without a folder."""

    name: str

    def __post_init__(self) -> None:
        if self.name not in Task.names():
            raise ValueError(f"{self.name!r} is not a task; allowed: {', '.join(Task.names())}")

    @staticmethod
    @cache
    def names() -> tuple[str, ...]:
        """All tasks: the folders beside this file, in alphabetical order."""
        here = Path(__file__).parent
        return tuple(sorted(p.name for p in here.iterdir() if (p / "params.py").is_file()))

    def params_type(self) -> type[TaskParams]:
        return cast("type[TaskParams]", self._module("params").Params)

    def description(self) -> Description:
        return cast(Description, import_module(f"{__package__}.{self.name}").DESCRIPTION)

    def source(self) -> Source:
        """Raises ValueError for a task that learns from the data of another."""
        return cast(Source, self._data_module("download", "source.download"))

    def prepare(self) -> Prepare:
        """Raises ValueError for a task that learns from the data of another."""
        return cast(Prepare, self._data_module("preprocess", "prepare.prepare"))

    def profile(self) -> Profile:
        """Also of a task that learns from the data of another."""
        return cast(Profile, Task(self.description().dataset_task)._module("prepare.profile"))

    def file_profile(self) -> FileProfile:
        """Raises ValueError for a task that learns from the data of another: its users' files are other things."""
        return cast(FileProfile, self._data_module("drift", "serve.profile"))

    def model(self) -> Model:
        return cast(Model, self._module("model.network"))

    def judge(self) -> Judge:
        """Raises ValueError for a task that has none."""
        if not (self.folder / "model" / "judge.py").is_file():
            raise ValueError(
                f"{self.name} has no {self.folder.name}/model/judge.py, which says how its judge is trained"
            )
        return cast(Judge, self._module("model.judge"))

    def evaluate(self) -> Evaluate:
        return cast(Evaluate, self._module("evaluate.evaluate"))

    def comparison(self) -> Comparison:
        return cast(Comparison, self._module("evaluate.comparison"))

    def predictor(self) -> type[Predictor]:
        return cast("type[Predictor]", self._module("serve.predictor").Predictor)

    def rows(self) -> Rows:
        return cast(Rows, self._module("rows"))

    @property
    def has_forecasts(self) -> bool:
        """Whether its model is scored by what the future brings, and not by labelled files."""
        return (self.folder / "forecasts.py").is_file()

    @property
    def has_corrections(self) -> bool:
        """Whether a user can say what was right: of a forecast the future does."""
        return (self.folder / "corrections.py").is_file()

    def corrections(self) -> Corrections:
        """Raises ValueError for a task that takes none."""
        if not self.has_corrections:
            raise ValueError(f"{self.name} has no {self.folder.name}/corrections.py: it takes no corrections")
        return cast(Corrections, self._module("corrections"))

    def labelled(self) -> Labelled:
        """Raises ValueError for a task that has none."""
        if not (self.folder / "labelled.py").is_file():
            raise ValueError(f"{self.name} has no {self.folder.name}/labelled.py, which says how answers are scored")
        return cast(Labelled, self._module("labelled"))

    def forecasts(self) -> Forecasts:
        return cast(Forecasts, self._module("forecasts"))

    @property
    def folder(self) -> Path:
        """Where its parts stand."""
        return Path(__file__).with_name(self.name)

    @property
    def paths(self) -> Paths:
        """Where its stages put what they make."""
        return Paths(self.name, self.description().dataset_task)

    def _data_module(self, verb: str, module: str) -> Any:
        owner = self.description().dataset_task
        if owner != self.name:
            raise ValueError(
                f"{self.name} has no data of its own but those of {owner}: `python -m stages.{verb} {owner}`"
            )
        return self._module(module)

    def _module(self, module: str) -> Any:
        return import_module(f"{__package__}.{self.name}.{module}")
