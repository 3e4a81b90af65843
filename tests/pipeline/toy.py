"""A clone in which only the toy task has run, and variants of its model, which take seconds to register."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient

from .conftest import Clone, commit, make_clone

MODEL = "toy-classifier"

# Registers the toy's network with its last layer times a number and with any accuracy claimed; as often as asked.
VARIANTS = """
import json, sys
from pathlib import Path
from safetensors.torch import load, save
from stages.registry import versions
from stages.registry.decision import verdict_text
from stages.params import load as load_params
from stages.tasks.protocol import Task

files = [Path("weights/toy/measured/weights.safetensors"), Path("metrics/toy.json")]
kept = [file.read_bytes() for file in files]
task, params = Task("toy"), load_params()["toy"]

def write(contents):
    for file, content in zip(files, contents):
        file.unlink()  # DVC may have linked it to its cache
        file.write_bytes(content)

try:
    for factor, accuracy in json.loads(sys.argv[1]):
        tensors = load(kept[0])
        tensors |= {name: factor * tensors[name] for name in ("head.weight", "head.bias")}
        write([save(tensors), json.dumps({**json.loads(kept[1]), "accuracy": accuracy}).encode()])
        print(verdict_text(versions.register(task, params, versions.receipt(task, params))))
finally:
    write(kept)
"""


def add_toy(clone: Clone) -> None:
    """Add the toy task to a clone, as anybody adds one: folder, params, pin, entries in dvc.yaml; committed."""
    toy = clone.folder / "stages" / "tasks" / "toy"
    shutil.copytree(Path(__file__).with_name("toy_task"), toy)
    with (clone.folder / "params.yaml").open("a", encoding="utf-8") as params:
        params.write("\n" + (toy / "params.yaml").read_text(encoding="utf-8"))
    (toy / "params.yaml").unlink()
    (clone.folder / "sources" / "toy.json").write_text('{\n  "files": {},\n  "source": null\n}\n', encoding="utf-8")
    clone.edit(
        "dvc.yaml",
        "      sketch: {",
        "      toy: {dataset_task: toy, judge: weights/toy, gpus: 0, template: confusion, x: actual, y: predicted}\n"
        "      sketch: {",
    )
    (clone.folder / "sources" / "weights" / "toy.json").write_text("{}\n", encoding="utf-8")
    clone.edit("dvc.yaml", "dataset_tasks: {", "dataset_tasks: {toy: {num_gpus: 0}, ")
    commit(clone)


def make_toy(folder: Path) -> Clone:
    """A clone after `dvc repro register@toy`."""
    clone = make_clone(folder)
    add_toy(clone)
    clone.repro("register@toy")
    commit(clone)
    return clone


@dataclass(frozen=True)
class Store:
    """A registry of its own for the toy clone, with its artifacts."""

    clone: Clone
    folder: Path

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.uri)

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    def start(self, *arguments: str, machine: str = "") -> subprocess.Popen[str]:
        """Start Python in the clone; another `machine` shares nothing with this one but the store."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "DVC_"))}
        environment |= {"MLFLOW_TRACKING_URI": self.uri, "UNROLL_RESUME": str(self.folder / f"resume{machine}")}
        environment |= {"OMP_NUM_THREADS": "1"}
        command = [sys.executable, *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self.clone.folder, env=environment, stdout=pipe, stderr=pipe, text=True)

    def run(self, *arguments: str, status: int = 0) -> str:
        """Run Python in the clone to its end; returns what it printed."""
        process = self.start(*arguments)
        printed, failed = process.communicate(timeout=300)
        assert process.returncode == status, f"{arguments} ended with {process.returncode}:\n{printed}{failed}"
        assert "Traceback" not in failed
        return printed + failed

    def registry(self, *arguments: str, status: int = 0) -> str:
        """`python -m stages.registry`"""
        return self.run("-m", "stages.registry", *arguments, status=status)

    def variants(self, *chosen: tuple[float, float]) -> list[str]:
        """Register the network with its last layer times the first number, and the second one as accuracy; verdicts."""
        return self.run("-c", VARIANTS, json.dumps(chosen)).strip().splitlines()[-len(chosen) :]

    def register(self) -> str:
        """Register the outputs as they are; the line that the stage prints."""
        return self.run("-m", "stages.register", "toy").strip().splitlines()[-1]

    def with_alias(self, alias: str) -> str:
        """The number of the version that has an alias."""
        return str(self.client.get_model_version_by_alias(MODEL, alias).version)

    def decisions(self) -> dict[str, str | None]:
        """The decision on each version, as its tag has it."""
        return {
            number: self.client.get_model_version(MODEL, number).tags.get("unroll.decision")
            for number in self.numbers()
        }

    def numbers(self) -> list[str]:
        """All versions, ascending."""
        return sorted(str(found.version) for found in self.client.search_model_versions(f"name = '{MODEL}'"))
