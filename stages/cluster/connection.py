"""The cluster that UNROLL_RAY names, and what a process of ours needs on any of its nodes."""

from __future__ import annotations

import importlib
import os
import re
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from textwrap import shorten
from typing import Any

from ..paths import search_path
from ..stopping import STATUS, Interrupted
from . import arrival

VARIABLE = "UNROLL_RAY"
AUTO = "auto"  # the cluster that runs on this machine
_ANSWER_SECONDS = 5.0  # until a head node that does not answer is given up
# How a client of HTTP/2, and so of gRPC, begins, and the type of the server's first frame (RFC 9113, section 3.4).
_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_HTTP2_SETTINGS = bytes([4])
# Set before a worker process starts: no usage statistics, and what torch and the allocator read when they load.
_AT_START = ("GLIBC_TUNABLES", "OMP_NUM_THREADS", "OMP_WAIT_POLICY")
# Set once it runs, from a message: what stands in Ray's runtime environment is shown in its dashboard, passwords too.
_FORWARDED = ("AWS_", "AZURE_", "DVC_", "GOOGLE_", "MLFLOW_", "UNROLL_")
_FORWARDED_NAMES = ("DO_NOT_TRACK", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy")
# As Ray's libraries write one: [2026-12-02 23:13:02,867 W 16445 16445] gcs_client.cc:210: Failed to …
_LOG_LINE = re.compile(r"\[[\d-]+ [\d:,]+ [A-Z] \d+ \d+\] [\w.]+:\d+: (?P<message>.+)")
# Ray's paragraphs about what has died, as far as they say what and where.
_PROCESS_DIED = re.compile(
    r"worker died or was killed.*Worker IP address: (?P<node>\S+).*Worker PID: (?P<pid>\d+)", re.S
)
_NODE_DIED = re.compile(r"node with node id: \S+ and address: (?P<node>\S+) and node name: .*marked dead", re.S)
# What follows from it: the tasks of a process, and of a node the process of Ray itself.
_CONSEQUENCE = re.compile(r"^Task \S+ failed\. There are \S+ retries remaining|Raylet is terminated\.")


_stage: str | None = None  # what this process runs, VERB@TASK


class ClusterError(RuntimeError):
    """The cluster cannot do what it is asked for; the message is for a person."""


def address() -> str | None:
    """UNROLL_RAY: `HOST:PORT` of a head node, or `auto`; None where it is not set. Raises ClusterError for others."""
    named = os.environ.get(VARIABLE, "").strip()
    if not named:
        return None
    host, _, port = named.rpartition(":")
    if named != AUTO and not (host and "/" not in host and port.isdecimal() and 0 < int(port) < 65536):
        raise ClusterError(
            f"{VARIABLE}: found {named!r}; allowed: HOST:PORT of a head node, as `ray start` prints it, or {AUTO}"
        )
    return named


def check_address() -> None:
    """Raise ClusterError where UNROLL_RAY names an address at which no head node answers."""
    named = address()
    if named is not None and named != AUTO:
        _ask(named)


def runs(stage: str) -> None:
    """Say which stage of dvc.yaml this process runs."""
    global _stage
    _stage = stage


def running_stage() -> str | None:
    """The stage that this process runs; None where it runs none, or nobody has said so."""
    return _stage


@contextmanager
def connected() -> Iterator[Any]:
    """The module `ray`, connected to the cluster. At the end all that this process has started there ends, too.

    Inside another such block it is that one's connection. Raises ClusterError where there is no Ray or no cluster.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        ray = importlib.import_module("ray")
    except ModuleNotFoundError:
        raise ClusterError(f"{VARIABLE} is set, but Ray is not installed; run `make cluster`") from None
    if ray.is_initialized():
        yield ray
        return
    check_address()
    named = address()
    environment = {name: os.environ[name] for name in _AT_START if name in os.environ}
    environment |= {"PYTHONPATH": search_path(), "RAY_USAGE_STATS_ENABLED": "0"}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    logged: list[str] = []
    try:
        with _collected_log(logged):
            ray.init(
                address=named,
                runtime_env={"env_vars": environment},
                logging_level="WARNING",
                log_to_driver=False,  # what our processes print is sent on as it is; Ray's own lines lie in its logs
            )
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        if logged:
            reason = logged[-1]
        elif named == AUTO:
            reason = "no cluster runs here; start one with `ray start --head`, or name HOST:PORT"
        else:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
        if "Method not found" in reason:  # from a worker node, or from Ray's client server
            reason = "a server of Ray, but no head node; name the port that `ray start --head` has printed"
        raise ClusterError(f"{VARIABLE}={named}: {_about_tokens(reason)}") from None
    for number, handler in handlers.items():  # Ray has put its own in the place of ours
        signal.signal(number, handler)
    found = ray.get_runtime_context().gcs_address  # `auto` may find another than its user meant
    print(f"unroll: cluster {found}: {described(ray)}", file=sys.stderr, flush=True)
    ray.cloudpickle.register_pickle_by_value(arrival)
    events: Any = importlib.import_module("ray._private.worker")
    print_event, events.print_to_stdstream = events.print_to_stdstream, _print_event
    try:
        with _interrupts_as_ours():
            yield ray
    finally:
        ray.cloudpickle.unregister_pickle_by_value(arrival)
        ray.shutdown()
        events.print_to_stdstream = print_event


def _about_tokens(reason: str) -> str:
    """Why Ray refuses to connect, and what to do where the head node asks for a token."""
    mode = os.environ.get("RAY_AUTH_MODE", "")
    if "no authentication token was found" in reason:
        return f"RAY_AUTH_MODE={mode}: found no token; allowed: the head node's ~/.ray/auth_token on this machine"
    if "AuthToken" not in reason:
        return reason
    set_mode = "" if mode == "token" else "set RAY_AUTH_MODE=token, and "
    return f"{reason}; {set_mode}copy the head node's ~/.ray/auth_token to this machine"


@contextmanager
def _interrupts_as_ours() -> Iterator[None]:
    """While Ray waits for a result, it makes a KeyboardInterrupt of what the handler of a signal raises, and so a
    traceback of a stop.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(STATUS) from None


@contextmanager
def _collected_log(messages: list[str]) -> Iterator[None]:
    """Collect in `messages`, after the block, what Ray's libraries log to standard error: they do so each second while
    they cannot connect. Other lines are printed then.
    """
    sys.stderr.flush()
    standard_error = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(standard_error, 2)
            os.close(standard_error)
            file.seek(0)
            for line in file.read().decode(errors="replace").splitlines():
                if found := _LOG_LINE.fullmatch(line):
                    messages.append(found["message"])
                else:
                    print(line, file=sys.stderr)


def _print_event(event: Mapping[str, Any], **_options: Any) -> None:
    """Say in a line that a process or a node has died. Ray prints a paragraph to standard output, where a table may be
    written.
    """
    for text in event["lines"]:
        if _CONSEQUENCE.search(text):
            continue
        if found := _PROCESS_DIED.search(text):
            line = f"process {found['pid']} on {found['node']} died; its work is tried again"
        elif found := _NODE_DIED.search(text):
            line = f"node {found['node']} died; its work is tried on the others"
        else:
            line = shorten(text, 160, placeholder=" …")
        print(f"unroll: cluster: {line}", file=sys.stderr, flush=True)


def _ask(named: str) -> None:
    """Raise ClusterError where no server, or one that does not speak gRPC as head nodes do, listens at an address: Ray
    would try it for minutes and log each attempt.
    """
    host, _, port = named.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_SECONDS) as server:
            if os.environ.get("RAY_USE_TLS") == "1":  # the server would wait for a handshake
                return
            server.settimeout(_ANSWER_SECONDS)
            server.sendall(_HTTP2_PREFACE)
            answer = server.recv(64)
    except OSError as error:
        raise ClusterError(f"{VARIABLE}={named}: no head node answers at this address ({error})") from None
    if answer[3:4] != _HTTP2_SETTINGS:
        raise ClusterError(f"{VARIABLE}={named}: found a server that is no head node of Ray; it answers {answer!r}")


def nodes(ray: Any) -> list[tuple[str, Mapping[str, float]]]:
    """The living nodes: name and resources (`CPU`, `GPU`), the head first."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    alive.sort(key=lambda node: ("node:__internal_head__" not in node["Resources"], node["NodeManagerAddress"]))
    return [(node["NodeManagerHostname"], node["Resources"]) for node in alive]


def total(ray: Any, kind: str) -> int:
    """How many of a resource (`CPU`, `GPU`) the living nodes have, busy ones too."""
    return int(sum(resources.get(kind, 0) for _, resources in nodes(ray)))


def described(ray: Any) -> str:
    """What the cluster has, in words: `2 nodes: a 4 CPUs, b 4 CPUs 1 GPU`."""
    found = []
    for name, resources in nodes(ray):
        counts = ((int(resources.get(kind, 0)), kind) for kind in ("CPU", "GPU"))
        found.append(" ".join([name, *(f"{n} {kind}{'s' * (n != 1)}" for n, kind in counts if n or kind == "CPU")]))
    return f"{len(found)} node{'s' * (len(found) != 1)}: {', '.join(found)}"


def forwarded() -> dict[str, str]:
    """The variables that go with work, but the one that names the cluster."""
    chosen = {
        name: value for name, value in os.environ.items() if name.startswith(_FORWARDED) or name in _FORWARDED_NAMES
    }
    chosen.pop(VARIABLE, None)
    return chosen


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
