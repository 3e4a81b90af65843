"""The process that asks the registry for a flow."""

from __future__ import annotations

import threading
from pathlib import Path

from flows.reports.registry_process import registry_process, start_early

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_one_that_was_started_early_is_used_once_and_ends_when_told() -> None:
    start_early(REPOSITORY)
    early, later = registry_process(REPOSITORY), registry_process(REPOSITORY)
    assert early is not later
    stopped = threading.Event()
    stopped.set()
    assert early.answer(stopped) == "no answer within 300 s"  # a flow that is stopped does not wait for it
    for process in (early, later):
        process.close()
        assert process._process.poll() is not None
