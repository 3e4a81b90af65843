"""Parts of the tests: CI runs a sixtieth of the slow ones, another with each commit, so that none rots unseen."""

from __future__ import annotations

import hashlib
import os
import signal

import pytest

# Two processes of tests share two processors: a thread that waits sleeps, in place of spinning. Before torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A shell's background job ignores Ctrl-C, and so would every process that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--part", metavar="K/N", help="run the part K, from 0, of N about equal parts of the chosen tests")


# Last: what `-m` has deselected is no part.
@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = config.getoption("--part")
    if not chosen:
        return
    part, parts = map(int, chosen.split("/"))
    if not 0 <= part < parts:
        raise pytest.UsageError(f"--part {chosen}: allowed is K/N with K from 0 to N - 1")
    # By name, so that a test keeps its part whatever is added or taken away beside it; tests in order, by their file.
    names = [item.nodeid.partition("::")[0] if item.get_closest_marker("in_order") else item.nodeid for item in items]
    inside = [int(hashlib.sha256(name.encode()).hexdigest(), 16) % parts == part for name in names]
    config.hook.pytest_deselected(items=[item for item, kept in zip(items, inside, strict=True) if not kept])
    items[:] = [item for item, kept in zip(items, inside, strict=True) if kept]
