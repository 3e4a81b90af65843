"""The cluster that UNROLL_RAY names, and what a process of ours needs on any of its nodes."""

from __future__ import annotations

import importlib
import os
import signal
import socket
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..paths import resume_folder, search_path

VARIABLE = "UNROLL_RAY"
AUTO = "auto"  # the cluster that runs on this machine
_ANSWER_SECONDS = 5.0  # until a head node that does not answer is given up
# Set before a worker process starts: no usage statistics, and what torch and the allocator read when they load.
_AT_START = ("GLIBC_TUNABLES", "OMP_NUM_THREADS", "OMP_WAIT_POLICY")
# Set once it runs, from a message: what stands in Ray's runtime environment is shown in its dashboard, passwords too.
_FORWARDED = ("AWS_", "AZURE_", "DVC_", "GOOGLE_", "MLFLOW_", "UNROLL_")
_FORWARDED_NAMES = ("DO_NOT_TRACK", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy")


class ClusterError(RuntimeError):
    """The cluster cannot do what it is asked for; the message is for a person."""


def address() -> str | None:
    """UNROLL_RAY: `HOST:PORT` of a head node, or `auto`; None where it is not set. Raises ClusterError for others."""
    named = os.environ.get(VARIABLE, "").strip()
    if not named:
        return None
    host, _, port = named.rpartition(":")
    if named != AUTO and not (host and port.isdecimal() and "/" not in host):
        raise ClusterError(
            f"{VARIABLE}: found {named!r}; allowed: HOST:PORT of a head node, as `ray start` prints it, or {AUTO}"
        )
    return named


@contextmanager
def connected() -> Iterator[Any]:
    """The module `ray`, connected to the cluster. At the end all that this process has started there ends, too.

    Inside another such block it is that one's connection. Raises ClusterError where there is no Ray or no cluster.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        ray = importlib.import_module("ray")
    except ModuleNotFoundError:
        raise ClusterError(f"{VARIABLE} is set, and Ray is not installed here; `make cluster` installs it") from None
    if ray.is_initialized():
        yield ray
        return
    named = address()
    assert named is not None
    if named != AUTO:
        _ask(named)
    environment = {name: os.environ[name] for name in _AT_START if name in os.environ}
    environment |= {"PYTHONPATH": search_path(), "RAY_USAGE_STATS_ENABLED": "0"}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        ray.init(
            address=named,
            runtime_env={"env_vars": environment},
            logging_level="WARNING",
            log_to_driver=False,  # what our processes print is sent on as it is, and Ray's own lines lie in its logs
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterError(f"{VARIABLE}={named}: {next(iter(str(error).splitlines()), type(error).__name__)}") from None
    for number, handler in handlers.items():  # Ray has put its own in the place of ours
        signal.signal(number, handler)
    try:
        yield ray
    finally:
        ray.shutdown()


def _ask(named: str) -> None:
    """Raise ClusterError where nothing listens at an address: Ray itself would try for a minute."""
    host, _, port = named.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(f"{VARIABLE}={named}: no head node answers there ({error})") from None


def nodes(ray: Any) -> list[tuple[str, Mapping[str, float]]]:
    """The living nodes: name and resources (`CPU`, `GPU`), the head first."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    alive.sort(key=lambda node: ("node:__internal_head__" not in node["Resources"], node["NodeManagerAddress"]))
    return [(node["NodeManagerHostname"], node["Resources"]) for node in alive]


def described(ray: Any) -> str:
    """What the cluster has, in words: `2 nodes: a 4 CPUs, b 4 CPUs 1 GPU`."""
    found = []
    for name, resources in nodes(ray):
        counts = ((int(resources.get(kind, 0)), kind) for kind in ("CPU", "GPU"))
        found.append(" ".join([name, *(f"{n} {kind}{'s' * (n != 1)}" for n, kind in counts if n or kind == "CPU")]))
    return f"{len(found)} node{'s' * (len(found) != 1)}: {', '.join(found)}"


@dataclass(frozen=True)
class Place:
    """This process's folder and environment, which work on any node goes on in."""

    folder: str
    markers: tuple[str, ...]  # files that are there as long as the work goes on: who sees them sees these very folders
    environment: Mapping[str, str]

    def enter(self) -> None:
        """Go there. Raises ClusterError on a node that has another folder of that name, or none."""
        for marker in map(Path, self.markers):
            if not marker.is_file():
                raise ClusterError(
                    f"node {socket.gethostname()} does not share the folder {marker.parent} with the machine that "
                    f"started this; {VARIABLE} needs one that all nodes reach by the same path"
                )
        os.chdir(self.folder)
        os.environ.pop(VARIABLE, None)  # what runs there does its work there
        os.environ.update(self.environment)
        if self.folder not in sys.path:
            sys.path.insert(0, self.folder)


@contextmanager
def shared_place() -> Iterator[Place]:
    """The present folder, to be entered by processes of any node inside the block."""
    name = f"cluster.{uuid.uuid4().hex}"
    markers = [folder / name for folder in dict.fromkeys([Path.cwd() / ".resume", resume_folder()])]
    for marker in markers:
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
    chosen = {
        name: value
        for name, value in os.environ.items()
        if (name.startswith(_FORWARDED) or name in _FORWARDED_NAMES) and name != VARIABLE
    }
    chosen["UNROLL_RESUME"] = str(resume_folder())
    try:
        yield Place(str(Path.cwd()), tuple(map(str, markers)), chosen)
    finally:
        for marker in markers:
            with suppress(OSError):
                marker.unlink()


def importable(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, or partial of one, as a module of the project has it: a command's own module is called
    `__main__`, and another process would be sent its code in place of its name.
    """
    if isinstance(function, partial):
        return partial(importable(function.func), *function.args, **function.keywords)
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if function.__module__ != "__main__" or spec is None:
        return function
    return getattr(importlib.import_module(spec.name), function.__qualname__)
