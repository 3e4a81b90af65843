"""Which tests may run beside which: `make test` runs two processes of tests (pytest-xdist), and what is costly to make
(servers, a finished pipeline, prepared data) is made in one of them only.
"""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent
SHARED = ("flows", "finished")  # fixtures that take a while to make, and are made once


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test of the slow rings a group, which stays in one process; unit tests go where there is room."""
    for item in items:
        if item.path.relative_to(HERE).parts[0] in ("pipeline", "system"):
            used = getattr(item, "fixturenames", ())
            group = next((fixture for fixture in SHARED if fixture in used), item.path.stem)
            item.add_marker(pytest.mark.xdist_group(group))
