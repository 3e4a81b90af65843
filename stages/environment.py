"""The environment variables that our processes, and all that they start, need: set before any tool reads them.

`stages` and `flows` set them first of all, so they hold however a command is started.
"""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_HERE = ("127.0.0.1", "localhost", "::1")
# Nobody's tools report to anybody from here.
_NO_TELEMETRY = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def prepare(environment: MutableMapping[str, str] = os.environ) -> None:
    """No telemetry, no proxy on the way to this machine, this environment's own programs before any others, and what
    tools ask of a user whom nobody knows.
    """
    for name, value in _NO_TELEMETRY.items():
        environment.setdefault(name, value)
    programs, path = str(Path(sys.executable).parent), environment.get("PATH", "")
    if path.split(os.pathsep)[0] != programs:
        environment["PATH"] = os.pathsep.join(filter(None, [programs, path]))
    _reach_this_machine(environment)
    if not _is_known_user():
        # As a container has it for a uid without a passwd entry: DVC, MLflow and torch fail without.
        environment["HOME"] = environment.get("HOME") or "/"
        if not any(environment.get(name) for name in ("LOGNAME", "USER", "LNAME", "USERNAME")):
            environment["USER"] = str(os.getuid())
    _trust_own_checkout(environment)


def _reach_this_machine(environment: MutableMapping[str, str]) -> None:
    """Where there is a proxy, leave this machine out: httpx, requests, urllib and gRPC would ask it for 127.0.0.1."""
    names = ("no_proxy", "NO_PROXY")  # some read only one of them
    if any(name.lower().endswith("_proxy") and name not in names and value for name, value in environment.items()):
        hosts = [host.strip() for name in names for host in environment.get(name, "").split(",")]
        for name in names:
            environment[name] = ",".join(dict.fromkeys([*filter(None, hosts), *_HERE]))


def _is_known_user() -> bool:
    import pwd

    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        return False
    return True


def _trust_own_checkout(environment: MutableMapping[str, str]) -> None:
    """Have git read a checkout that belongs to somebody else, as a mounted one does, where its code is running anyway.

    Git would say nothing of it, and a version would come from no commit.
    """
    git = ROOT / ".git"
    if not git.exists() or git.stat().st_uid == os.geteuid():
        return
    count = int(environment.get("GIT_CONFIG_COUNT", "0"))
    if str(ROOT) in (environment.get(f"GIT_CONFIG_VALUE_{number}") for number in range(count)):
        return  # whoever started us has done so
    for number, folder in enumerate((ROOT, git), count):
        environment[f"GIT_CONFIG_KEY_{number}"] = "safe.directory"
        environment[f"GIT_CONFIG_VALUE_{number}"] = str(folder)
    environment["GIT_CONFIG_COUNT"] = str(count + 2)
