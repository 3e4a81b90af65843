"""Which Prefect server a command talks to: the one PREFECT_API_URL names, else this checkout's, else a temporary one.

Nothing here imports Prefect, which reads the environment when it is imported.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from stages.progress_bar import tell
from stages.tracking.private import private_folder
from stages.tracking.store import without_credentials

from .servers import ServersError, here

_SECONDS = 15.0  # for a busy server to answer


def choose_server() -> None:
    """Have Prefect use the server of this checkout if it runs and no other one is named.

    Ends the process with one line where the server does not answer, or is that of another checkout. Call it before
    Prefect is imported.
    """
    try:
        servers = here()
        if "PREFECT_API_URL" not in os.environ:
            private_folder(servers.folder)  # where Prefect's temporary server keeps its database
            for name, value in servers.own_database().items():
                os.environ.setdefault(name, value)
            if "prefect" in servers.running():
                os.environ.update(servers.environment)
        if address := os.environ.get("PREFECT_API_URL"):
            check_server(address, home=Path(os.environ.get("PREFECT_HOME", servers.folder)))
        else:
            tell("unroll: starting a temporary Prefect server; none is set by PREFECT_API_URL or `make up` …")
    except ServersError as error:
        sys.exit(f"unroll: servers: {error}")


def tell_of_the_end() -> None:
    """A line where Prefect stops its temporary server at the end of this process, which takes seconds."""
    if "PREFECT_API_URL" not in os.environ:
        tell("unroll: stopping the temporary Prefect server …")


def check_server(address: str, *, home: Path | None = None) -> None:
    """Raise ServersError where nothing answers at an address, or, on this machine, the server of another checkout than
    that of this PREFECT_HOME.
    """
    shown = without_credentials(address)
    here_too = home is not None and urlsplit(address).hostname in ("127.0.0.1", "localhost", "::1")
    try:
        httpx.get(f"{address.rstrip('/')}/health", timeout=_SECONDS)  # any answer will do: it may ask for a key
        found = _home(address) if here_too else None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ServersError(
            f"no Prefect server answers at {shown} ({error}); `make up` starts this checkout's server, which is "
            f"found without PREFECT_API_URL"
        ) from None
    if home and found and (found.parent / "dvc.yaml").is_file() and found.resolve() != home.resolve():
        raise ServersError(
            f"{shown} is the server of {found.parent}, another checkout; `unset PREFECT_API_URL` to use this one's "
            f"own, or `export PREFECT_HOME={found}` to use that"
        )


def _home(address: str) -> Path | None:
    """The PREFECT_HOME of a server, where it tells."""
    answer = httpx.get(f"{address.rstrip('/')}/admin/settings", timeout=_SECONDS)
    try:
        return Path(answer.json()["home"])
    except (ValueError, KeyError, TypeError):
        return None
