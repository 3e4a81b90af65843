"""Whatever stands in a row, the other rows get their answers, in process and over HTTP; no answer tells of the server.

One table for all five models. Over HTTP each model is saved as `register` saves it and asked through MLflow's own
scoring app; `tests/pipeline/test_fresh_environments.py` starts the servers themselves.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from mlflow.pyfunc import scoring_server
from starlette.testclient import TestClient

from stages.models.weights import save_network
from stages.serving.predictor import Predictor
from stages.tasks.drawing.model.network import build as build_generator
from stages.tasks.forecast.model.network import build as build_forecaster
from stages.tasks.protocol import Task
from stages.tasks.sketch.model.network import build as build_classifier
from tests.unit import test_drawing, test_forecast_serve, test_sketch_serve, test_translation_serve, test_video_serve
from tests.unit.saved_model import saved_model
from tests.unit.test_sketch_model import model_params
from tests.unit.video_clips import write_clip

pytestmark = pytest.mark.usefixtures("one_thread")

TASKS = ("sketch", "video", "translation", "forecast", "drawing")
DAYS = [f"2024-03-{day:02d}" for day in range(1, 31)]
DEEP: Any = []
for _ in range(2000):
    DEEP = [DEEP]


class Refusing:
    """Whatever is asked of it fails."""

    def _refuse(self, *_: object) -> Any:
        raise RuntimeError("refused")

    __eq__ = __hash__ = __repr__ = __bool__ = __len__ = __float__ = _refuse


# What may stand anywhere: these go over HTTP as well …
FAULTS: dict[str, Any] = {
    "nothing": None,
    "not a number": math.nan,
    "a dict": {"a": {"b": [1]}},
    "a list": [1, 2],
    "an empty list": [],
    "lists too shallow": [[1, 2], [3, 4]],
    "lists too deep": [[[[0, 1]], [[0, 1]]]],
    "lists of texts": [[["a", "b"], ["c", "d"]]],
    "lists of dicts": [[{}, {}], [{}, {}]],
    "unequal lists": [[[0, 1, 2], [0]]],
    "lists with gaps": [[[0, None], [1, 2]]],
    "a huge number in lists": [[[0, 10**400], [1, 2]]],
    "a truth": True,
    "a negative number": -1,
    "a fraction": 0.5,
    "a huge number": 10**400,
    "infinity": math.inf,
    "no text": "",
    "blanks": " \t\n",
    "a NUL": "a\0b",
    "half a surrogate": "\ud800",
    "a text of megabytes": "x" * 3_000_000,
    "a text of brackets": "[" * 100_000,
    "a text that is a number": "1e999",
    "a date": "2024-02-30",
    "an address": "http://[::1",
    "another protocol": "reference://a::http://127.0.0.1:9/b.json",
    "a path": "/etc/shadow",
    "a path that is not there": "/etc/nothere",
    "a device": "/dev/zero",
}
# … and these cannot.
HERE: dict[str, Any] = {
    "pandas' nothing": pd.NA,
    "no time": pd.NaT,
    "bytes": b"\xff\xfe\0",
    "an object": object(),
    "a set": {1, 2},
    "a complex number": 1j,
    "numpy's complex number": np.complex64(1j),
    "a complex number without an imaginary part": 3 + 0j,
    "lists of 2,000 levels": DEEP,
    "a tuple with a dict": ({"a": 1},),
    "a frame": pd.DataFrame({"a": [1]}),
    "a number that signals": Decimal("sNaN"),
    "no decimal number": Decimal("NaN"),
    "a fraction of whole numbers": Fraction(1, 3),
    "numpy's nothing": np.float32("nan"),
    "numpy's no time": np.datetime64("NaT"),
    "numpy's truth": np.bool_(True),
    "numpy's text": np.str_("x"),
    "numpy's bytes": np.void(b"x"),
    "an array": np.array([1, 2]),
    "an array of one number": np.array(3),
    "a span of time": pd.Timedelta(1),
    "numpy's span of time": np.timedelta64(3, "D"),
    "a bytearray": bytearray(b"x"),
    "what refuses all": Refusing(),
}
RAISED = ("nothing", "a dict", "a NUL", "half a surrogate", "a path", "another protocol")  # also without `report`
REQUESTS = {
    "no JSON": (b"{", "application/json"),
    "no UTF-8": (b'{"dataframe_records": "\xff"}', "application/json"),
    "a list": (b"[]", "application/json"),
    "no rows": (b'{"dataframe_records": []}', "application/json"),
    "other columns": (b'{"dataframe_records": [{"odd": 1}]}', "application/json"),
    "a wrong split": (b'{"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}', "application/json"),
    "wrong instances": (b'{"instances": [[[1], [2, 3]]]}', "application/json"),
    "wrong inputs": (b'{"inputs": {"a": {"b": 1}}}', "application/json"),
    "a param of another type": (
        b'{"dataframe_records": [{"odd": 1}], "params": {"on_error": [1]}}',
        "application/json",
    ),
    "no CSV": (b'a,"b\n1', "text/csv"),
    "a ragged CSV": (b"a,b\n1,2,3\n4,5,6,7\n", "text/csv"),
    "an empty CSV": (b"", "text/csv"),
    "no Parquet": (b"PAR1nothing", "application/vnd.apache.parquet"),
    "a picture": (b"\x89PNG", "image/png"),
}


def weights(task: str, folder: Path) -> Path:
    """An untrained network of a task."""
    build: Any
    params: Any
    data: dict[str, Any]
    if task == "video":
        return test_video_serve.untrained(folder)
    if task == "translation":
        return test_translation_serve.untrained(folder, test_translation_serve.PREPARE)[1]
    if task == "forecast":
        params, build, data = test_forecast_serve.PARAMS, build_forecaster, {"max_gap_days": 10, "duplicates": "last"}
    elif task == "sketch":
        params, build = model_params(), build_classifier
        data = {"classes": test_sketch_serve.CLASSES, "max_points": 30}
    else:
        params = test_drawing.PARAMS.model.model_copy(update=test_drawing.SMALL)
        build, data = build_generator, test_drawing.DATA
    save_network(folder / "weights", build(params, data), params, data, prepared=folder, training={})
    return folder / "weights"


def good(task: str, folder: Path) -> list[dict[str, Any]]:
    """Rows of one good item."""
    match task:
        case "sketch":
            return [{"drawing": test_sketch_serve.DRAWING}]
        case "video":
            return [{"path": str(write_clip(folder / "shared" / "good.mp4", 60))}]
        case "translation":
            return [{"text": "5 March 1999"}]
        case "forecast":
            return [{"unique_id": "good", "ds": day, "y": 20.0 + number % 7} for number, day in enumerate(DAYS)]
    return [{"label": "line", "seed": 1, "temperature": 0.5}]


def bad(task: str, rows: list[dict[str, Any]], value: Any) -> Iterator[list[dict[str, Any]]]:
    """The rows of an item of its own with `value` in each of their columns in turn."""
    for column in rows[0]:
        own = [{**row, **({"unique_id": f"bad {column}"} if task == "forecast" else {})} for row in rows]
        yield (
            [{**row, column: value} for row in own]
            if column == "unique_id"
            else [*own[:-1], {**own[-1], column: value}]
        )


@pytest.fixture(scope="module", params=TASKS)
def asked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Path]:
    """A task, the folder of its network, and a folder for clips."""
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, weights(request.param, folder), folder


def test_a_bad_row_in_process_leaves_the_others_their_answers(asked: tuple[str, Path, Path]) -> None:
    task, folder, place = asked
    predictor: Predictor = Task(task).predictor()(folder)
    rows = good(task, place)
    size = len(predictor.predict(pd.DataFrame(rows)))
    assert predictor.predict(pd.DataFrame(rows)[:0]).columns.tolist() == list(predictor.outputs)
    for name, value in {**FAULTS, **HERE}.items():
        for own in bad(task, rows, value):
            columns = {column: pd.Series([row[column] for row in rows + own], dtype=object) for column in rows[0]}
            frame = pd.DataFrame(columns)
            answers = predictor.predict(frame, on_error="report")
            errors = answers["error"].dropna()
            assert answers["error"][:size].isna().all(), (name, errors.tolist())
            assert len(answers) > size, name
            # A reason that we know, not the name of another library's error.
            assert not any("cannot be read (" in error for error in errors), (name, errors.tolist())
            assert all(len(error) < 1500 and str(folder) not in error for error in errors), name
            if len(errors):
                with pytest.raises(ValueError, match=r"cannot be answered"):
                    predictor.predict(frame)


def test_a_bad_row_of_the_registered_model_in_process_leaves_the_others_their_answers(
    asked: tuple[str, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, folder, place = asked
    model = mlflow.pyfunc.load_model(str(saved_model(Task(task), folder, tmp_path, monkeypatch)))
    rows = good(task, place)
    size = len(model.predict(pd.DataFrame(rows)))
    for name, value in HERE.items():
        for own in bad(task, rows, value):
            columns = {column: pd.Series([row[column] for row in rows + own], dtype=object) for column in rows[0]}
            answers = model.predict(pd.DataFrame(columns), params={"on_error": "report"})
            errors = answers["error"].dropna().tolist()
            assert answers["error"][:size].isna().all(), (name, errors)
            assert len(answers) > size, name
            assert not any("cannot be read (" in error for error in errors), (name, errors)


@pytest.mark.parametrize(("task", "column"), [("drawing", "seed"), ("drawing", "temperature"), ("forecast", "y")])
@pytest.mark.parametrize("found", [1j, np.complex64(1j), np.timedelta64(3, "D")], ids=str)
def test_what_is_no_number_is_refused_in_a_column_of_its_own_type_and_makes_no_other_one(
    task: str, column: str, found: Any, tmp_path: Path
) -> None:
    """A single complex number makes all of its column complex, as MLflow hands it over."""
    predictor: Predictor = Task(task).predictor()(weights(task, tmp_path))
    rows = good(task, tmp_path)
    (own,) = (own for own in bad(task, rows, found) if own[-1][column] is found)
    frame = pd.DataFrame(rows + own)
    if isinstance(found, complex | np.complexfloating):
        assert frame[column].dtype.kind == "c"
    errors = predictor.predict(frame, on_error="report")["error"].tolist()
    assert not any(isinstance(error, str) for error in errors[:-1]), errors
    assert re.search(rf"{column}(:| is) .*; allowed", errors[-1]), errors


@pytest.fixture(scope="module")
def server(asked: tuple[str, Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The task's model as `mlflow models serve` asks it, in this process."""
    task, folder, place = asked
    work = tmp_path_factory.mktemp("model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("__pyfunc_model_path__", str(work / "saved"))
        patch.setenv("UNROLL_CLIPS", str(place / "shared"))
        saved = saved_model(Task(task), folder, work, patch)
        yield TestClient(scoring_server.init(mlflow.pyfunc.load_model(str(saved))), raise_server_exceptions=False)


def says_nothing_of_the_server(text: str) -> None:
    for word in ("Traceback", "stack_trace", 'File "', "site-packages", "/tmp/", "unroll_", "/work/", str(Path.home())):
        assert word not in text, text[-3000:]


def test_a_bad_row_over_http_leaves_the_others_their_answers(asked: tuple[str, Path, Path], server: TestClient) -> None:
    task, _, place = asked
    rows = good(task, place)
    if task == "video":
        rows = [{"path": "good.mp4"}]
    alone = server.post("/invocations", json={"dataframe_records": rows}).json()["predictions"]
    for name, value in FAULTS.items():
        for own in bad(task, rows, value):
            for on_error in ("report", "raise") if name in RAISED else ("report",):
                body = json.dumps({"dataframe_records": rows + own, "params": {"on_error": on_error}})
                reply = server.post("/invocations", content=body, headers={"content-type": "application/json"})
                # pandas reads no half surrogate: MLflow refuses the whole request before a model sees it.
                if on_error == "raise" or (name == "half a surrogate" and reply.status_code == 400):
                    assert reply.status_code in (200, 400), (name, reply.text[:300])
                    says_nothing_of_the_server(reply.text)
                    continue
                assert reply.status_code == 200, (name, reply.text[-500:])
                answers = json.loads(reply.text, parse_constant=lambda constant: pytest.fail(constant))["predictions"]
                assert [row["error"] for row in answers[: len(alone)]] == [None] * len(alone), name
                for row in answers[len(alone) :]:
                    assert (row["error"] is None) != (row["mean" if task == "forecast" else next(iter(row))] is None), (
                        name
                    )
                    says_nothing_of_the_server(str(row["error"]))


@pytest.mark.parametrize("name", REQUESTS)
def test_a_bad_request_is_answered_without_a_word_on_the_server(name: str, server: TestClient) -> None:
    content, kind = REQUESTS[name]
    reply = server.post("/invocations", content=content, headers={"content-type": kind})
    assert 400 <= reply.status_code < 500, reply.text
    says_nothing_of_the_server(reply.text)
