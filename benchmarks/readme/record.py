"""What each picture shows, as hashes of committed files: those of its last making are in docs/figures/readme/made.json.

A picture is stale once one of them is another. Only what shapes it counts: predictions of dvc.lock where answers of a
network are seen, the code that draws, the minor version of a program whose page is photographed.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from stages.data.files import read_json, write_json
from stages.provenance.hashes import file_md5
from stages.tasks.protocol import Task

from ..data import REPOSITORY

FOLDER = Path("docs/figures/readme")
RECORD = FOLDER / "made.json"
THEMES = ("light", "dark")
PICTURES = ("tasks", "prefect", "mlflow", "demo")
LARGEST = 300_000  # bytes of a file
NUMBERS = FOLDER / "samples.json"

_OWN = "benchmarks/readme"
_CODE = {
    "tasks": (f"{_OWN}/answers.py", f"{_OWN}/panels.py"),
    "prefect": (f"{_OWN}/screens.py",),
    "mlflow": (f"{_OWN}/screens.py",),
    "demo": (
        f"{_OWN}/screens.py",
        *(
            f"flows/demo/{name}"
            for name in (
                *("page.py", "page.css", "canvas.js", "pictures.py", "sides.py"),
                *("sketch.py", "drawing.py", "video.py", "translation.py", "forecast.py"),
            )
        ),
    ),
}
# Outputs of dvc.lock that change with the networks' answers; the weights' hash changes with code that changes none.
_PREDICTIONS = "plots/{}/evaluation/predictions.csv"
_OUTPUTS = {
    "tasks": tuple(_PREDICTIONS.format(task) for task in ("sketch", "video", "translation", "forecast", "drawing")),
    "mlflow": (_PREDICTIONS.format("sketch"),),
    "demo": tuple(_PREDICTIONS.format(task) for task in ("sketch", "video", "translation", "forecast", "drawing")),
}
_PROGRAM = {
    "prefect": ("prefect", "requirements.lock"),
    "mlflow": ("mlflow", "requirements.lock"),
    "demo": ("gradio", "requirements-demo.lock"),
}


def files(picture: str) -> list[Path]:
    """Its files, one a theme, relative to the repository."""
    return [FOLDER / f"{picture}-{theme}.png" for theme in THEMES]


def shows(picture: str) -> dict[str, str]:
    """What it shows, each with a hash or a version."""
    found = {name: _code(name) for name in _CODE[picture]}
    if picture in _PROGRAM:
        program, lock = _PROGRAM[picture]
        found[program] = _minor_version(program, lock)
    stages = _locked()
    if picture != "demo":
        found["stages of dvc.yaml"] = _digest(" ".join(sorted(stages)).encode())
    outputs = _outputs(stages)
    found |= {f"{name} of dvc.lock": outputs[name] for name in _OUTPUTS.get(picture, ())}
    return found


def stale(picture: str) -> Iterator[str]:
    """What has changed since the picture was made, or is wrong with its files; nothing where it is as it should be."""
    known = _record().get(picture)
    if known is None:
        yield "it was never made"
        return
    now = shows(picture)
    yield from (
        f"{name} is another" for name in now.keys() & known["shows"].keys() if now[name] != known["shows"][name]
    )
    yield from (f"{name} is new or gone" for name in now.keys() ^ known["shows"].keys())
    for path in files(picture):
        content = (REPOSITORY / path).read_bytes() if (REPOSITORY / path).is_file() else b""
        if _digest(content) != known["files"].get(path.name):
            yield f"{path} is not the file that was made"


def note(picture: str) -> None:
    """Write down what the picture shows, now that it has been made."""
    record = _record()
    record[picture] = {
        "made": f"{datetime.now(UTC):%Y-%m-%d}",
        "files": {path.name: _digest((REPOSITORY / path).read_bytes()) for path in files(picture)},
        "shows": shows(picture),
    }
    write_json(REPOSITORY / RECORD, {name: record[name] for name in PICTURES if name in record})


def note_numbers() -> None:
    """Copy the metrics of the samples, which git does not track, to where texts can be compared with them."""
    outputs = _outputs(_locked())
    tasks = {}
    for name in Task.names():
        path = Task(name).paths.metrics
        if file_md5(REPOSITORY / path) != outputs[str(path)]:
            raise SystemExit(f"unroll: readme: {path} is not that of dvc.lock; `make repro` first")
        values = {key: value for key, value in read_json(REPOSITORY / path).items() if isinstance(value, float)}
        tasks[name] = {"md5": outputs[str(path)], "predictions": outputs[_PREDICTIONS.format(name)], "metrics": values}
    write_json(REPOSITORY / NUMBERS, {"made": f"{datetime.now(UTC):%Y-%m-%d}", "tasks": tasks})


def stale_numbers() -> Iterator[str]:
    """The tasks whose metrics have changed since."""
    outputs = _outputs(_locked())
    for name, known in read_json(REPOSITORY / NUMBERS)["tasks"].items():
        # That of the generator names the weights of its judge, whose hash changes with code that changes no answer.
        judged = name == "drawing"
        path = _PREDICTIONS.format(name) if judged else str(Task(name).paths.metrics)
        if outputs[path] != known["predictions" if judged else "md5"]:
            yield f"{path} of dvc.lock is another"


def _locked() -> dict[str, Any]:
    """The stages of dvc.lock."""
    return yaml.safe_load((REPOSITORY / "dvc.lock").read_text(encoding="utf-8"))["stages"]


def _outputs(stages: Mapping[str, Any]) -> dict[str, str]:
    """The md5 of every output."""
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}


def _record() -> dict[str, dict[str, Any]]:
    path = REPOSITORY / RECORD
    return read_json(path) if path.is_file() else {}


def _code(name: str) -> str:
    """A hash of a file; of Python without comments, docstrings and layout."""
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    return _digest((_meaning(text) if name.endswith(".py") else text).encode())


def _meaning(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body: Sequence[ast.stmt] = getattr(node, "body", [])
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            body[0].value.value = ""
    return ast.dump(tree)


def _minor_version(program: str, lock: str) -> str:
    text = (REPOSITORY / lock).read_text(encoding="utf-8")
    found = re.search(rf"^{program}==(\d+\.\d+)", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"{lock}: found no {program}; allowed: a line {program}==VERSION")
    return found[1]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
