"""Which version is `champion`, which `challenger`, and how the one becomes the other.

A champion changes as a whole or not at all: the version is loaded and asked for an answer, the alias is moved, the
decision is noted on the version; where one of that fails, the alias stands where it stood. The gate, a person's
decision and a rollback all take this way.
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

from ..paths import resume_folder
from ..stopping import stop_signals
from ..tracking.store import without_credentials

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from ..tasks.protocol import Task

CHAMPION, CHALLENGER, NONE = "champion", "challenger", "none"

# Tags of a version: why it is or is not champion; who decided on it, why, when; who was champion before it.
VERDICT, DECIDED, PREVIOUS = "unroll.verdict", "unroll.decided", "unroll.previous_champion"


def verdict(version: ModelVersion) -> str:
    """Why a version, given with its aliases, is champion, was champion, or is not."""
    text = version.tags.get(VERDICT, "not judged yet")
    was = text.startswith(CHAMPION) and CHAMPION not in version.aliases
    return f"no longer champion; it was {text}" if was else text


class PromotionError(RuntimeError):
    """A version cannot be compared or promoted; the message says which and why."""


class ChampionMoved(PromotionError):
    """The champion is another than the one that was decided on."""


@dataclass(frozen=True, slots=True)
class Answering:
    """A registered version that has been loaded and has answered its task's example."""

    name: str
    version: str
    model: Any  # MLflow's PyFuncModel; a DataFrame in gives a DataFrame


@contextmanager
def held(name: str) -> Iterator[None]:
    """One process of this checkout at a time changes a model's versions and aliases; the same one may enter again."""
    resume_folder().mkdir(parents=True, exist_ok=True)
    with FileLock(resume_folder() / f"{name}.lock", is_singleton=True):
        yield


def with_alias(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """The version of a model that has this alias, or None."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return None


def check_champion(client: MlflowClient, name: str, seen: str) -> None:
    """Raises ChampionMoved where the champion's number is not `seen`, or there is one where `seen` is NONE."""
    champion = with_alias(client, name, CHAMPION)
    found = str(champion.version) if champion else NONE
    if found != seen:
        raise ChampionMoved(
            f"{name}: the champion is version {found} by now, not {seen} as it was shown; nothing has changed: decide "
            f"on a new comparison"
        )


def get_version(client: MlflowClient, name: str, version: str) -> ModelVersion:
    """A version by its number or by an alias, with its aliases. Raises PromotionError where there is none."""
    from mlflow.exceptions import MlflowException

    if not version.isdigit():
        found = with_alias(client, name, version)
        if found is None:
            raise PromotionError(f"{name}: no version has the alias {version!r}; register one first, or name a version")
        return found
    try:
        return client.get_model_version(name, version)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise PromotionError(f"{name}: there is no version {version}") from None


def load(name: str, version: str) -> Any:
    """A version as its users load it, without reading pickles."""
    import mlflow.pyfunc

    # A model that came from elsewhere must not run code while it is read.
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    return mlflow.pyfunc.load_model(f"models:/{name}/{version}")


def example_rows(task: Task, model: Any, folder: Path) -> pd.DataFrame:
    """The task's example as a loaded version reads it; files that the rows name are made in `folder`."""
    import pandas as pd

    return pd.DataFrame(task.rows().example(folder, model.metadata.get_input_schema().input_names()))


def ask(task: Task, name: str, version: str) -> Answering:
    """Load a version and have it answer the task's example. Raises PromotionError where it does not."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            model = load(name, version)
            answer = model.predict(example_rows(task, model, Path(folder)))
        except Exception as error:  # it is foreign code, and may raise whatever it likes
            raise PromotionError(
                f"{name} version {version} does not answer: {reason_of(error)}; the champion stays"
            ) from error
    promised = model.metadata.signature.outputs.required_input_names()
    missing = [column for column in promised if column not in answer.columns]
    if missing or answer.empty or answer[promised].isna().to_numpy().any():
        raise PromotionError(
            f"{name} version {version} does not answer as its signature says: found {len(answer)} rows of "
            f"{', '.join(map(str, answer.columns))}; allowed: {', '.join(promised)}, all filled; the champion stays"
        )
    return Answering(name, version, model)


def move(
    client: MlflowClient, answering: Answering, *, before: str, tags: Mapping[str, str], go_back: bool = False
) -> None:
    """Make a version that answers the champion after version `before` (or NONE), and note `tags` on it: all or nothing.

    Raises ChampionMoved where the champion is another than `before` by now. `go_back` leaves the note of who was
    champion before it as it is: it was champion once.
    """
    name, version = answering.name, answering.version
    with held(name), stop_signals():  # to be asked to stop in the middle of it stops after it
        check_champion(client, name, before)
        try:
            if before != version and not go_back:
                client.set_model_version_tag(name, version, PREVIOUS, before)
            client.set_registered_model_alias(name, CHAMPION, version)
            for key, value in tags.items():
                client.set_model_version_tag(name, version, key, value)
        except Exception:
            if before == NONE:
                client.delete_registered_model_alias(name, CHAMPION)
            else:
                client.set_registered_model_alias(name, CHAMPION, before)
            raise


def reason_of(error: Exception) -> str:
    """An error in one line: its kind and the first line of what it says, without users and passwords of addresses."""
    return without_credentials(f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}")
