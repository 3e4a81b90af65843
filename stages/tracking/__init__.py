"""What a training records in MLflow, and how it gets there though the server may be away.

A training appends to a `spool` on disk and never waits; a process beside it (`mlflow_runs`) delivers what is new, each
event once, however often either side dies (`delivery`). No DVC output depends on anything here, so a change never makes
a stage run again. No address with a password may be printed or stored.
"""
