"""The page to try the registered models on.

    python -m flows.demo                      on http://127.0.0.1:7860 (`make demo` installs Gradio first)
    python -m flows.demo --port 8000          on another port; UNROLL_DEMO_PORT sets it, too
    python -m flows.demo --host 0.0.0.0       for others, who then cannot send corrections
    python -m flows.demo --corrections on     on any address

The models are those of MLFLOW_TRACKING_URI, or of this checkout's own store.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from stages.progress_bar import tell

HERE = "127.0.0.1"
_UPLOAD = "50mb"
_MAX_THREADS = 16
_WAIT_SECONDS = 0.5
# Visits whose state is kept, 0.35 MB each; Gradio keeps 10,000. The oldest loses only the series of its forecast.
_MAX_VISITS = 200
_SETTINGS = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_SHARE": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # What visitors send is answered as strangers' input is: no path of this machine, no address (docs/serving.md).
    "UNROLL_SERVED": "1",
}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--host", default=HERE, help="address to listen on (%(default)s)")
    parser.add_argument("--port", default=os.environ.get("UNROLL_DEMO_PORT", "7860"), help="port (%(default)s)")
    parser.add_argument("--corrections", choices=["auto", "on", "off"], default="auto", help="auto: only on 127.0.0.1")
    args = parser.parse_args()
    if not args.port.isdigit() or not 0 < int(args.port) < 65536:
        sys.exit(f"unroll: demo: --port: found {args.port!r}; allowed: a whole number from 1 to 65535")
    if find_spec("gradio") is None:
        sys.exit("unroll: demo: Gradio is not installed; `make demo` installs it (requirements-demo.lock)")
    with tempfile.TemporaryDirectory(prefix="unroll-demo-", ignore_cleanup_errors=True) as folder:
        os.environ.update(_SETTINGS, GRADIO_TEMP_DIR=folder, UNROLL_CLIPS=folder)
        serve(args.host, int(args.port), Path(folder), corrections=takes_corrections(args.corrections, args.host))


def takes_corrections(choice: str, host: str) -> bool:
    """Whether the page has buttons for corrections: by default where nobody from elsewhere comes."""
    return choice == "on" or (choice == "auto" and host == HERE)


def serve(host: str, port: int, folder: Path, *, corrections: bool) -> None:
    """Load the models and serve the page until somebody ends it."""
    from starlette.middleware import Middleware

    from stages.tracking.mlflow_runs import open_client

    from . import guard, page
    from .corrections import Corrections, open_corrections
    from .models import Models

    models = Models(open_client(), page.TASKS)
    guard.open_no_address()
    kept = open_corrections(Path("feedback")) if corrections else Corrections(None)
    examples = folder / "examples"
    examples.mkdir()
    built = page.build(models, kept, examples)
    built.queue(default_concurrency_limit=2, max_size=200)
    try:
        built.launch(
            server_name=host,
            server_port=port,
            share=False,
            quiet=True,
            show_error=False,  # of faults that are not gr.Error, which name functions and files of this machine
            prevent_thread_lock=True,
            max_threads=_MAX_THREADS,
            max_file_size=_UPLOAD,
            state_session_capacity=_MAX_VISITS,
            app_kwargs={"middleware": [Middleware(guard.Guard, folder=folder)]},
            theme=page.THEME,
            css=page.CSS,
            footer_links=["settings"],
            enable_monitoring=False,
            ssr_mode=False,
        )
    except OSError:  # Gradio's message names settings of its own
        sys.exit(
            f"unroll: demo: cannot listen on {host}:{port}: another program uses the port, or the address is not this "
            "machine's; choose another with --port (or UNROLL_DEMO_PORT) or --host"
        )
    tell(f"the page is on http://{host}:{port}")
    models.watch()  # the page is there while they are loaded
    with suppress(KeyboardInterrupt):  # SIGTERM, too: stages/stopping.py
        while True:  # Polars, which Gradio imports, has one long wait go on after Ctrl-C
            time.sleep(_WAIT_SECONDS)
    built.close(verbose=False)


if __name__ == "__main__":
    main()
