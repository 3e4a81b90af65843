"""Where MLflow's store is, and its errors in one line: never with a user or a password.

Where MLFLOW_TRACKING_URI names no server, the store is `mlflow.db` in the main checkout.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from ..paths import project_root
from .private import private_file

_LOCAL = "local"
_SQLITE = "sqlite:///"
_MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # the latter for an alias

T = TypeVar("T")


def store_uri(folder: Path = Path()) -> str:
    """MLFLOW_TRACKING_URI, or else the absolute address of the local store of the checkout in a folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or _local_uri(folder)


def store_name() -> str:
    """A name for the store that gives nothing of its address away: a spool waits for the store it is meant for."""
    uri = store_uri()
    if uri == _local_uri():
        return _LOCAL
    return hashlib.sha256(without_credentials(uri).partition("?")[0].encode()).hexdigest()[:16]


def without_credentials(text: str) -> str:
    """A text whose addresses name no user and no password."""
    return re.sub(r"(?<=://)[^/\s]*@", "", text)


def store_error(error: BaseException) -> str | None:
    """What MLflow, its server or its database cannot do, in a line without credentials; None for another's error."""
    if type(error).__module__.partition(".")[0] not in ("mlflow", "sqlalchemy", "botocore"):
        return None
    text = without_credentials(next(iter(str(error).splitlines()), type(error).__name__))
    match getattr(error, "error_code", ""):
        case "UNAUTHENTICATED":
            text = "unknown user or wrong password (MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD)"
        case "PERMISSION_DENIED":
            text = "this user has no permission for that (MLFLOW_TRACKING_USERNAME)"
        case _ if "Max retries exceeded" in text:
            text = "it cannot be reached: " + text.rpartition("Caused by ")[2].rstrip(")")
    return f"MLflow at {without_credentials(store_uri())}: {text}"


@contextmanager
def store_errors() -> Iterator[None]:
    """Inside the block, what the store cannot do becomes a RuntimeError of one line, without credentials."""
    try:
        yield
    except Exception as error:
        line = store_error(error)
        if line is None:
            raise
        raise RuntimeError(line) from error


def found_or_none(request: Callable[[], T]) -> T | None:
    """What a request to MLflow gives; None where MLflow has no such thing."""
    from mlflow.exceptions import MlflowException

    try:
        return request()
    except MlflowException as error:
        if error.error_code not in _MISSING:
            raise
        return None


def database_file(uri: str) -> Path | None:
    """The file of a store that is an sqlite database; None for any other."""
    return Path(uri.removeprefix(_SQLITE).partition("?")[0]) if uri.startswith(_SQLITE) else None


def missing_database() -> Path | None:
    """The file of the store where that is an sqlite database which nobody has made yet, else None: whoever only asks
    makes none.
    """
    file = database_file(store_uri())
    return None if file is None or file.exists() else file


def sqlite_uri(file: Path, *, driver: str = "") -> str:
    """The address of an sqlite database; `driver`: of SQLAlchemy, where it is not Python's own.

    Raises ValueError for a path with a question mark: SQLAlchemy 2.0 takes what follows for options.
    """
    if "?" in str(file):
        raise ValueError(f"{file}: found a question mark; allowed: a folder without one")
    return f"sqlite{driver and '+'}{driver}:///{file}"


def make_private(uri: str) -> None:
    """Where a store is an SQLite file that is not there yet, make it, empty and for its owner alone."""
    if database := database_file(uri):
        private_file(database)


def _local_uri(folder: Path = Path()) -> str:
    return sqlite_uri(project_root(folder) / "mlflow.db")


if __name__ == "__main__":
    # For shells: `mlflow ui --backend-store-uri "$(python -m stages.tracking.store)"`
    make_private(store_uri())
    print(store_uri())
