"""When and where stages run: Prefect flows over the pipeline that dvc.yaml describes.

DVC decides what must run (`dag`); `pipeline` runs it, `execution` knows how, `reports` shows the results, `server`
runs the servers, `tune` searches. No output of a stage depends on anything here, so no change makes a stage run again.
Deployments name modules and functions: a renamed flow needs `python -m flows.server.deploy`.
"""

import os

import stages as stages  # first of all: it sets up the environment, and what SIGTERM and Ctrl-C do

# A run without a sign of life for 90 s is called Crashed (`automations`); Prefect's own pause between two is 180 s.
os.environ.setdefault("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "30")
# A run without a server starts one. Prefect waits 20 s for it, which imports alone can take on a busy machine.
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")
# In `pipeline` each line of a stage's log begins with its name.
os.environ.setdefault(
    "PREFECT_LOGGING_FORMATTERS_STANDARD_TASK_RUN_FMT", "%(asctime)s.%(msecs)03d | %(levelname)-7s | %(message)s"
)
