"""Whether our commands take some arguments, found out by their own parsers, without running them.

    python -m tests.arguments < COMMANDS

COMMANDS is JSON, a list of `{"page", "module", "arguments"}`; it prints those that were refused, with the reason.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import runpy
import shlex
import sys
from collections.abc import Callable
from typing import Any


class Parsed(BaseException):
    """The arguments have been taken; nothing is to run."""


def refused(module: str, arguments: str) -> str | None:
    """Why a module refuses arguments; None where it takes them."""
    sys.argv = [module, *shlex.split(arguments)]
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            runpy.run_module(module, run_name="__main__", alter_sys=False)
    except Parsed:
        return None
    except SystemExit as end:
        return f"{said.getvalue()}{end}"
    return "it has run and parsed nothing"


def stopping(parse: Callable[..., Any]) -> Callable[..., Any]:
    """A parser's method that ends the program once it has parsed."""

    def parse_and_stop(*given: Any, **named: Any) -> None:
        parse(*given, **named)
        raise Parsed

    return parse_and_stop


def main() -> None:
    """Read commands, print the refused ones."""
    for name in ("parse_args", "parse_intermixed_args"):
        setattr(argparse.ArgumentParser, name, stopping(getattr(argparse.ArgumentParser, name)))
    faults = []
    for one in json.load(sys.stdin):
        if why := refused(one["module"], one["arguments"]):
            faults.append({**one, "why": why})
    json.dump(faults, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
