"""Which version is `champion`, which `challenger`, and how the one becomes the other.

A champion changes as a whole or not at all: the version is loaded and answers an example, the alias moves, the verdict
is written; where one of these fails, the alias stands where it stood. The gate, a person's approval and a rollback all
take this way.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from ..paths import MEASURED, SERVED, resume_folder
from ..stopping import stop_signals
from ..tracking.store import found_or_none, without_credentials
from .decision import CHAMPION, Decision, Verdict, read_verdict, write_verdict
from .packaging import NETWORK

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from ..models.learned import Learned
    from ..tasks.protocol import Task

NONE = "none"  # in place of a version's number where there is no champion
WEIGHTS = "unroll.receipt.weights"  # tag of a version: DVC's md5 of its weights

# Tags of a version: who decided on it, why, when; who was champion before it.
DECIDED, PREVIOUS_CHAMPION = "unroll.decided", "unroll.previous_champion"


class PromotionError(RuntimeError):
    """A version cannot be compared or promoted; the message says which and why."""


class ChampionMoved(PromotionError):
    """The champion is another than the one that was decided on."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A registered version that has been loaded and has answered its task's example."""

    name: str
    version: str
    model: Any  # MLflow's PyFuncModel; a DataFrame in gives a DataFrame


@contextmanager
def model_lock(name: str) -> Iterator[None]:
    """One process of this checkout at a time changes a model's versions and aliases; the same one may enter again."""
    resume_folder().mkdir(parents=True, exist_ok=True)
    with FileLock(resume_folder() / f"{name}.lock", is_singleton=True):
        yield


def with_alias(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """The version of a model that has this alias, or None."""
    return found_or_none(lambda: client.get_model_version_by_alias(name, alias))


def get_version(client: MlflowClient, name: str, version: str) -> ModelVersion:
    """A version by its number or by an alias, with its aliases. Raises PromotionError where there is none."""
    if version.isdigit():
        found = found_or_none(lambda: client.get_model_version(name, version))
        missing = f"there is no version {version}"
    else:
        found = with_alias(client, name, version)
        missing = f"no version has the alias {version!r}; register one first, or name a version"
    if found is None:
        raise PromotionError(f"{name}: {missing}")
    return found


def check_champion(client: MlflowClient, name: str, expected: str) -> ModelVersion | None:
    """The champion, if its number is the expected one, or NONE. Raises ChampionMoved where it is another."""
    champion = with_alias(client, name, CHAMPION)
    found = str(champion.version) if champion else NONE
    if found != expected:
        raise ChampionMoved(
            f"{name}: the champion is now version {found}, not version {expected} as in the comparison; nothing was "
            f"changed; compare again and decide then"
        )
    return champion


def load_model(name: str, version: str, network: str = SERVED) -> Any:
    """A version as its users load it, without reading pickles; or with its MEASURED network in place of the SERVED one.

    One that older code has made has one network, which answers in either case.
    """
    import mlflow.pyfunc
    from mlflow.models import get_model_info

    # A model that came from elsewhere must not run code while it is read.
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    address = f"models:/{name}/{version}"
    if network == SERVED or not get_model_info(address).flavors["python_function"].get("config"):
        return mlflow.pyfunc.load_model(address)
    return mlflow.pyfunc.load_model(address, model_config={NETWORK: network})


def learned_by(task: Task, name: str, version: str, network: str = MEASURED) -> Learned | None:
    """What a version's MEASURED network has learned from, or its SERVED one, which is the measured one where it was not
    refit; None of a version that older code has made.
    """
    from mlflow import artifacts

    from ..models.learned import LEARNED_NAME, Learned

    weights = _weights_address(task, name, version)
    names = _names(weights)
    if found := next((one for one in (network, MEASURED) if one in names), ""):
        weights = f"{weights}/{found}"
        names = _names(weights)
    if LEARNED_NAME not in names:
        return None
    with tempfile.TemporaryDirectory() as folder:
        artifacts.download_artifacts(artifact_uri=f"{weights}/{LEARNED_NAME}", dst_path=folder)
        return Learned.load(next(Path(folder).rglob(LEARNED_NAME)).parent)


def answering_network(task: Task, name: str, version: str) -> str:
    """Which of its networks a version answers with, in a word: `refit`, or `measured` where that is its only one;
    `gone` where its files are not there.
    """
    from mlflow.exceptions import MlflowException

    try:
        names = _names(_weights_address(task, name, version))
    except (MlflowException, OSError):
        names = set()
    return "gone" if not names else "refit" if SERVED in names else "measured"


def _weights_address(task: Task, name: str, version: str) -> str:
    return f"models:/{name}/{version}/artifacts/{task.name}"


def _names(address: str) -> set[str]:
    """What lies in a folder of a store."""
    from mlflow import artifacts

    return {Path(file.path).name for file in artifacts.list_artifacts(artifact_uri=address)}


def example_rows(task: Task, model: Any, folder: Path) -> pd.DataFrame:
    """The task's example as a loaded version reads it; files that the rows name are made in `folder`."""
    import pandas as pd

    return pd.DataFrame(task.rows().example(folder, model.metadata.get_input_schema().input_names()))


def load_and_try(task: Task, name: str, version: str) -> LoadedModel:
    """Load a version and have it answer the task's example. Raises PromotionError where it does not."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            model = load_model(name, version)
            answer = model.predict(example_rows(task, model, Path(folder)))
        except Exception as error:  # it is foreign code, and may raise whatever it likes
            raise PromotionError(
                f"{name} version {version} does not answer: {error_line(error)}; the champion stays"
            ) from error
    promised = model.metadata.signature.outputs.required_input_names()
    missing = [column for column in promised if column not in answer.columns]
    if missing or answer.empty or answer[promised].isna().to_numpy().any():
        raise PromotionError(
            f"{name} version {version}: its answer does not match its signature: found {len(answer)} rows of "
            f"{', '.join(map(str, answer.columns))}; allowed: {', '.join(promised)}, all filled; the champion stays"
        )
    return LoadedModel(name, version, model)


def make_champion(
    client: MlflowClient,
    candidate: LoadedModel,
    reason: str,
    *,
    champion_version: str,
    tags: Mapping[str, str] | None = None,
    go_back: bool = False,
) -> None:
    """Make a version the champion in place of version `champion_version`, or of NONE, and add `tags`: all or nothing.

    Raises ChampionMoved where the champion is another by now. `go_back` leaves the note of who was champion before it
    as it is: it was champion once.
    """
    name, number = candidate.name, candidate.version
    with model_lock(name), stop_signals():  # to be asked to stop in the middle of it stops after it
        champion = check_champion(client, name, champion_version)
        earlier = {number: read_verdict(get_version(client, name, number))}
        try:
            if champion_version != number and not go_back:
                client.set_model_version_tag(name, number, PREVIOUS_CHAMPION, champion_version)
            client.set_registered_model_alias(name, CHAMPION, number)
            if champion and champion_version != number and (verdict := read_verdict(champion)):
                earlier[champion_version] = verdict
                write_verdict(client, name, champion_version, verdict.superseded())
            for key, value in (tags or {}).items():
                client.set_model_version_tag(name, number, key, value)
            write_verdict(client, name, number, Verdict(Decision.CHAMPION, reason))
        except Exception:
            if champion:
                client.set_registered_model_alias(name, CHAMPION, champion_version)
            else:
                client.delete_registered_model_alias(name, CHAMPION)
            for version, verdict_before in earlier.items():
                write_verdict(client, name, version, verdict_before)
            raise


def error_line(error: Exception) -> str:
    """An error in one line: its kind and the first line of its message, without users and passwords of addresses."""
    return without_credentials(f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}")
