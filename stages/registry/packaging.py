"""What a registered model is made of: its own copy of the code, the weights, pinned requirements, a signature.

The code travels as a package named after its hash, so that two versions and a checkout can live in one process and each
runs its own code.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
import warnings
from collections.abc import Collection, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..paths import SERVED
from ..provenance import imports
from ..provenance.hashes import code_md5, file_md5

if TYPE_CHECKING:
    from mlflow.models import ModelSignature
    from mlflow.models.model import ModelInfo

    from ..params import TaskParams
    from ..serving.predictor import Predictor
    from ..tasks.protocol import Task

NETWORK = "network"  # key of a model's configuration: which network it answers with; `load_model` can set it

_ALWAYS = ("numpy", "pandas", "pyarrow", "pydantic", "pyyaml", "safetensors", "torch")


def serving_modules(task: Task) -> tuple[str, ...]:
    """The modules a registered model starts from."""
    return ("stages.serving.pyfunc", f"stages.tasks.{task.name}.serve.predictor")


def serving_code(task: Task) -> str:
    """The md5 of the code that decides the answers of the task's model."""
    return code_md5(serving_modules(task))


def serving_options(task: Task, params: TaskParams) -> dict[str, bool | int | float | str]:
    """The params of the task's `predict` with their defaults: the values that the model was measured with (of the
    `evaluate` block), or else those of the predictor.
    """
    measured_with = params.evaluate.model_dump()
    return {name: measured_with.get(name, default) for name, default in task.predictor().options.items()}


def log_model(task: Task, params: TaskParams, run_id: str) -> tuple[ModelInfo, str]:
    """Log the task's network as a model of a run; returns what MLflow says of it, and the md5 of its code."""
    import mlflow.pyfunc
    from mlflow.models import Model

    predictor, weights = task.predictor(), task.paths.weights
    with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
        # The signature is given in full, so that MLflow need not infer one from type hints or an example.
        warnings.filterwarnings("ignore", category=UserWarning, module=r"mlflow\.pyfunc")
        package, script = write_code(task, Path(temporary))
        packaged = code_digest(package, script)
        sys.path.insert(0, temporary)  # MLflow runs the script while it logs the model
        try:
            logged = Model.log(
                artifact_path=None,
                name=task.description().model_name,
                flavor=mlflow.pyfunc,
                run_id=run_id,
                python_model=str(script),
                code_paths=[str(package)],
                artifacts={"weights": str(weights.resolve())},
                model_config={NETWORK: SERVED},
                pip_requirements=requirements(predictor),
                signature=signature(
                    predictor,
                    predictor.extra_inputs(task.paths.measured),
                    serving_options(task, params),
                    unavailable=predictor.unavailable(task.paths.measured),
                ),
            )
        finally:
            sys.path.remove(temporary)
    return logged, packaged


def write_code(task: Task, folder: Path) -> tuple[Path, Path]:
    """Copy the serving code into `folder` under its own name; returns the package and the script MLflow loads.

    The project's modules import each other relatively, so the copy needs no change but an empty `__init__.py`, since
    the checkout's own looks for the project's environment.
    """
    files = sorted({path for module in serving_modules(task) for path in imports.closure(module)})
    digest = hashlib.md5(usedforsecurity=False)
    for path in files:
        digest.update(f"{path.as_posix()}\0".encode() + (imports.ROOT / path).read_bytes())
    package = folder / f"unroll_{digest.hexdigest()[:16]}"
    for path in files:
        target = package / path.relative_to("stages")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(imports.ROOT / path, target)
    (package / "__init__.py").write_text("", encoding="utf-8")
    script = folder / "model.py"
    script.write_text(
        f"from mlflow.models import set_model\n\n"
        f"from {package.name}.serving.pyfunc import ServedModel\n"
        f"from {package.name}.tasks.{task.name}.serve.predictor import Predictor\n\n"
        f"set_model(ServedModel(Predictor))\n",
        encoding="utf-8",
    )
    return package, script


def code_digest(package: Path, script: Path) -> str:
    """The md5 of a model's package and script; what Python compiled beside them does not count."""
    files = {path.relative_to(package.parent).as_posix(): path for path in package.rglob("*.py")}
    digest = hashlib.md5(usedforsecurity=False)
    for name, path in [*sorted(files.items()), ("model.py", script)]:
        digest.update(f"{name}\0{file_md5(path)}\n".encode())
    return digest.hexdigest()


def requirements(predictor: type[Predictor]) -> list[str]:
    """What a machine must install to answer, at the versions that are installed here, without local build labels."""
    names = sorted({*_ALWAYS, *predictor.requirements})
    return [f"{name}=={version(name).partition('+')[0]}" for name in names] + [f"mlflow=={version('mlflow')}"]


def signature(
    predictor: type[Predictor],
    further: Mapping[str, str],
    options: Mapping[str, bool | int | float | str] | None = None,
    *,
    unavailable: Collection[str] = (),
) -> ModelSignature:
    """MLflow's signature of a predictor: input columns, with those that only some of its models need (`further`),
    output columns, and the params of `predict` with their defaults, the predictor's own where no `options` are given.
    Params and optional outputs that a model has not (`unavailable`) are left out.
    """
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, Array, ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

    def columns(specification: Mapping[str, str], *, required: bool = True) -> list[ColSpec | TensorSpec]:
        special: dict[str, Any] = {
            "any": AnyType(),
            "strings": Array(DataType.string),
            "doubles": Array(DataType.double),
            "lists of strings": Array(Array(DataType.string)),
            "lists of doubles": Array(Array(DataType.double)),
        }
        return [ColSpec(special.get(kind, kind), name, required=required) for name, kind in specification.items()]

    kinds = {bool: "boolean", int: "long", float: "double", str: "string"}
    optional = {name: kind for name, kind in predictor.optional_outputs.items() if name not in unavailable}
    specs = [ParamSpec("on_error", "string", "raise")]
    for name, default in predictor.options.items():
        if name in unavailable:
            continue
        specs.append(ParamSpec(name, kinds[type(default)], (options or {}).get(name, default)))
    return ModelSignature(
        inputs=Schema(columns({**predictor.inputs, **further}) + columns(predictor.optional_inputs, required=False)),
        outputs=Schema(columns(predictor.outputs) + columns(optional, required=False)),
        params=ParamSchema(specs),
    )
