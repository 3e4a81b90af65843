"""Each registered model answers in a virtual environment that has its own requirements and nothing else.

The environments are made by `uv`, which links packages from its cache instead of copying them: `make environment` has
put torch there, so that an environment takes seconds and no room on the disk.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import pytest
from mlflow import MlflowClient

from benchmarks.machine import free_port
from tests.pipeline.conftest import Clone
from tests.system.house import kill_all, wait_until

pytestmark = [pytest.mark.pipeline, pytest.mark.slow]

# Runs in the fresh environment and in an empty folder. Asks for a few rows, for thousands, and for bad ones.
LOAD = """
import importlib.util, json, sys
import mlflow, pandas as pd

name, address, path = sys.argv[1:]
for foreign in ("stages", "dvc", "prefect", "statsforecast", "sacrebleu"):
    assert importlib.util.find_spec(foreign) is None, foreign
mlflow.set_tracking_uri(address)
model = mlflow.pyfunc.load_model(f"models:/{name}@challenger")
asked = json.load(open(path))
few, many = pd.DataFrame(asked["few"]), pd.DataFrame(asked["many"])
found = {"few": model.predict(few), "many": model.predict(many)}
found["bad"] = model.predict(pd.DataFrame(asked["bad"]), params={"on_error": "report"})
try:
    model.predict(pd.DataFrame(asked["bad"]))
except mlflow.MlflowException as error:
    print(json.dumps(str(error)))
print(json.dumps({key: json.loads(frame.to_json(orient="records", date_format="iso")) for key, frame in found.items()}))
"""


@dataclass(frozen=True)
class Asked:
    """What a model is asked."""

    few: list[dict[str, Any]]
    many: list[dict[str, Any]]  # `few`, over and over, each as often as any other
    bad: list[dict[str, Any]]  # the first can be answered, the second cannot
    reason: str  # what is said of the second


@dataclass(frozen=True)
class Environment:
    """A virtual environment of one model, and an empty folder to stand in."""

    folder: Path
    store: str

    def command(self, *arguments: str) -> dict[str, Any]:
        """What subprocess takes to run a program of the environment."""
        programs = self.folder / "environment" / "bin"
        variables = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PYTHON"))}
        variables |= {
            "MLFLOW_TRACKING_URI": self.store,
            "UNROLL_CLIPS": str(Path(self.store.removeprefix("sqlite:///")).parent / "data"),  # what a server may open
            "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "VIRTUAL_ENV": str(programs.parent),
            "PATH": f"{programs}{os.pathsep}/usr/bin:/bin",
        }
        empty = self.folder / "empty"
        empty.mkdir(exist_ok=True)
        return {"args": [str(programs / arguments[0]), *arguments[1:]], "cwd": empty, "env": variables}

    def run(self, *arguments: str) -> str:
        done = subprocess.run(**self.command(*arguments), capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module", params=["sketch-classifier", "video-classifier", "translator", "forecaster"])
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def environment(model: str, finished: tuple[Clone, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Environment:
    clone, _ = finished
    folder = tmp_path_factory.mktemp(model)
    store = f"sqlite:///{clone.folder / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=store, registry_uri=store)
    version = client.get_model_version_by_alias(model, "challenger")
    logged = client.get_logged_model(str(version.source).rpartition("/")[2])
    wanted = Path(unquote(urlsplit(logged.artifact_location).path)) / "requirements.txt"
    programs = Path(sys.executable).parent
    subprocess.run([programs / "uv", "venv", "--quiet", "--python", sys.executable, folder / "environment"], check=True)
    install = ["pip", "install", "--quiet", "--python", str(folder / "environment"), "-r", str(wanted)]
    subprocess.run([programs / "uv", *install], check=True, timeout=600)
    return Environment(folder, store)


@pytest.fixture(scope="module")
def asked(model: str, finished: tuple[Clone, list[str]]) -> Asked:
    clone, _ = finished
    few: list[dict[str, Any]]
    match model:
        case "sketch-classifier":
            # Of very different lengths, the longest near the bound of input points; the model sorts them by length.
            lengths = [3, 40, 7, 400, 12, 20_000]
            few = [{"drawing": [[[0, *range(n), 0], [0, *(i % 97 for i in range(n)), 255]]]} for n in lengths]
            bad = [few[0], {"drawing": [[[0, 1], [0]]]}]
            return Asked(few, few * 350, bad, "row 1: drawing: a stroke with parts of 2, 1 values")
        case "video-classifier":
            clips = sorted((clone.folder / "data" / "video" / "raw").rglob("*.mp4"))[:5]
            few = [{"path": str(clip)} for clip in clips]
            return Asked(few, few * 400, [few[0], {"path": "/no/such.mp4"}], "row 1: path '/no/such.mp4'")
        case "translator":
            texts = ["<en_US> March 5, 1999", "1", "<de_DE> 5. März 1999", "<en_US> " + "March " * 5]
            few = [{"text": text} for text in texts]
            return Asked(few, few * 500, [few[0], {"text": " "}], "row 1: text: found 1 characters, none")
        case _:
            days = [f"2024-{1 + d // 28:02d}-{1 + d % 28:02d}" for d in range(28)]
            few = [{"unique_id": f"s{n}", "ds": day, "y": n + d % 7} for n in range(3) for d, day in enumerate(days)]
            # A series has to have a name of its own, or its rows would be those of one.
            many = [{**row, "unique_id": f"{n}-{row['unique_id']}"} for n in range(60) for row in few]
            bad = [*few[:28], {"unique_id": "short", "ds": days[0], "y": 1.0}]
            return Asked(few, many, bad, "series 'short': 1 days; allowed: at least 14")


def test_few_rows_thousands_and_bad_ones(model: str, environment: Environment, asked: Asked) -> None:
    questions = environment.folder / "asked.json"
    questions.write_text(json.dumps({"few": asked.few, "many": asked.many, "bad": asked.bad}))
    printed = environment.run("python", "-c", LOAD, model, environment.store, str(questions))
    refusal, found = map(json.loads, printed.splitlines()[-2:])
    assert asked.reason in refusal
    for number, answer in enumerate(found["many"]):
        few = found["few"][number % len(found["few"])]
        for column, value in few.items():
            if column != "unique_id":
                assert answer[column] == (pytest.approx(value, abs=1e-4) if _numbers(value) else value)
    good, bad = found["bad"][0], found["bad"][-1]
    assert good["error"] is None
    assert bad["error"].startswith(asked.reason.partition(": ")[2])
    assert {value for column, value in bad.items() if column not in ("error", "unique_id")} == {None}


def _numbers(value: Any) -> bool:
    return isinstance(value, float) or (isinstance(value, list) and isinstance(value[0], float))


def test_mlflow_models_predict(model: str, environment: Environment, asked: Asked) -> None:
    (environment.folder / "few.json").write_text(json.dumps({"dataframe_records": asked.few}))
    options = ["--content-type", "json", "--env-manager", "local"]
    answers = environment.folder / "answers.json"
    environment.run(
        *("mlflow", "models", "predict", "--model-uri", f"models:/{model}@challenger"),
        *("--input-path", str(environment.folder / "few.json"), "--output-path", str(answers), *options),
    )
    predictions = strict(answers.read_text())["predictions"]
    assert len(predictions) == (21 if model == "forecaster" else len(asked.few))


def test_mlflow_models_serve(model: str, environment: Environment, asked: Asked) -> None:
    with served(environment, model) as address:

        def ask(rows: list[dict[str, Any]], **params: str) -> httpx.Response:
            body = {"dataframe_records": rows, "params": params}
            return httpx.post(f"{address}/invocations", json=body, timeout=120)

        good = ask(asked.few)
        assert good.status_code == 200, good.text
        assert len(strict(good.text)["predictions"]) == (21 if model == "forecaster" else len(asked.few))
        refused = ask(asked.bad)
        assert refused.status_code == 400
        assert asked.reason in refused.json()["message"]
        reported = strict(ask(asked.bad, on_error="report").text)["predictions"]
        assert reported[0]["error"] is None
        assert reported[-1]["error"]


@contextmanager
def served(environment: Environment, model: str) -> Iterator[str]:
    port = str(free_port())
    serve = ("mlflow", "models", "serve", "--model-uri", f"models:/{model}@challenger", "--env-manager", "local")
    with (environment.folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            **environment.command(*serve, "--host", "127.0.0.1", "--port", port, "--workers", "1"),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: server.poll() is not None or answers(f"{address}/ping"), "the model's server", seconds=200)
        yield address
    finally:
        kill_all(server.pid)
        server.wait()


def answers(address: str) -> bool:
    try:
        return httpx.get(address).is_success
    except httpx.HTTPError:
        return False


def strict(text: str) -> Any:
    """JSON as the standard has it: without NaN."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in JSON")

    return json.loads(text, parse_constant=refuse)
