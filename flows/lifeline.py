"""What tells a flow's work to end: the flow's own end, and that of the worker which started it.

A flow that a worker starts is a process of its own. When the worker is killed, nobody tells the flow; it has to look.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_POLL = 1.0  # seconds between two looks at the worker
_STARTED_BY_WORKER = "PREFECT__FLOW_RUN_ID"  # set by Prefect in the environment of such a process


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """An event for all that the block starts: set when the block is left by an exception, or the worker is gone.

    In the second case, this process is sent SIGTERM as well, upon which Prefect calls the run crashed.
    """
    stop, left = threading.Event(), threading.Event()
    if os.environ.get(_STARTED_BY_WORKER):
        worker = os.getppid()

        def watch() -> None:
            while not left.wait(_POLL):
                if os.getppid() != worker:
                    stop.set()
                    os.kill(os.getpid(), signal.SIGTERM)
                    return

        threading.Thread(target=watch, daemon=True).start()
    try:
        yield stop
    except BaseException:
        stop.set()
        raise
    finally:
        left.set()
