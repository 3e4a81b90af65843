"""What tells a flow's work to end: the flow's own end, that of its worker, and that of the run that ordered it.

A flow that a worker starts is a process of its own. When the worker is killed, nobody tells the flow; it has to look.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

import psutil

from stages.stopping import STATUS, Interrupted

_POLL = 1.0  # seconds between two looks at the worker
_POLL_SERVER = 0.5  # seconds between two looks at a temporary server that is to end
_POLL_RUN = 3.0  # seconds between two looks at another run, which cost a request each
_STARTED_BY_WORKER = "PREFECT__FLOW_RUN_ID"  # set by Prefect in the environment of such a process


@contextmanager
def stopping(ordered_by: str = "") -> Iterator[threading.Event]:
    """An event for all that the block starts: set when the block is left by an exception, or when nobody waits for it.

    That is so when the worker is gone (this process is then sent SIGTERM as well, upon which Prefect calls the run
    crashed), or when the flow run whose id is `ordered_by` has ended.
    """
    stop, left = threading.Event(), threading.Event()

    def watch(ended: Callable[[], bool], seconds: float) -> None:
        while not left.wait(seconds):
            if ended():
                stop.set()
                return

    def worker_is_gone() -> bool:
        gone = os.getppid() != worker
        if gone:
            stop.set()
            os.kill(os.getpid(), signal.SIGTERM)
        return gone

    worker = os.getppid()
    if os.environ.get(_STARTED_BY_WORKER):
        _survive_a_broken_pipe()
        threading.Thread(target=watch, args=(worker_is_gone, _POLL), daemon=True).start()
    if ordered_by:
        threading.Thread(target=watch, args=(_run_has_ended(ordered_by), _POLL_RUN), daemon=True).start()
    try:
        yield stop
    except BaseException as error:
        stop.set()
        if isinstance(error, Interrupted):
            leave_temporary_server(STATUS)
        elif _is_sigterm(error):
            threading.Thread(target=_leave_when_the_server_has, daemon=True).start()
        raise
    finally:
        left.set()


def leave_temporary_server(status: int) -> None:
    """End this process at once where Prefect has started a server for it alone; what it runs ends with it.

    Ctrl-C ends that server as well, and Prefect would try for minutes to tell it how the run ended.
    """
    if "PREFECT_API_URL" in os.environ or threading.current_thread() is not threading.main_thread():
        return
    _leave(status)


def _leave(status: int) -> NoReturn:
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            child.terminate()
    sys.stdout.flush()
    os._exit(status)


def _is_sigterm(error: BaseException) -> bool:
    """Whether Prefect raised it upon a SIGTERM. Only a process that has imported Prefect can hold one."""
    exceptions = sys.modules.get("prefect.exceptions")
    return exceptions is not None and isinstance(error, exceptions.TerminationSignal)


def _leave_when_the_server_has() -> None:
    """Upon a SIGTERM: end this process once the temporary server listens no more.

    A SIGTERM to this process alone leaves that server time to note how the run ended, and Prefect stops it then. One to
    the whole group, as `timeout` or a scheduler sends it, ends the server as well, and Prefect would try for a minute
    to tell it.
    """
    if "PREFECT_API_URL" in os.environ:
        return
    while _temporary_server_listens():
        time.sleep(_POLL_SERVER)
    os.write(2, b"unroll: stopped\n")
    _leave(STATUS)


def _temporary_server_listens() -> bool:
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if "uvicorn" in child.cmdline():
                return any(found.status == psutil.CONN_LISTEN for found in child.net_connections("tcp"))
    return False


def _survive_a_broken_pipe() -> None:
    """Go on when nobody reads what we print: the worker does, and rich would end the process before it has reported."""

    def print_to_nobody() -> None:
        nobody = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (1, 2):
            os.dup2(nobody, descriptor)
        os.close(nobody)

    loggers = [logging.getLogger(name) for name in (None, *logging.root.manager.loggerDict)]
    for handler in {handler for logger in loggers for handler in logger.handlers}:
        if console := getattr(handler, "console", None):
            console.on_broken_pipe = print_to_nobody


def _run_has_ended(flow_run_id: str) -> Callable[[], bool]:
    from uuid import UUID

    import httpx
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    def ended() -> bool:
        try:
            with get_client(sync_client=True) as client:
                state = client.read_flow_run(UUID(flow_run_id)).state
        except ObjectNotFound:
            return True
        except httpx.HTTPError:  # the server is away; the work goes on
            return False
        return state is not None and state.is_final()

    return ended
