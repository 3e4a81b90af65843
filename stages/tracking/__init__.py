"""What MLflow is told of a training, and how it gets there though its server may be away.

A training appends to a `spool` on disk and never waits; a process beside it (`mlflow_runs`) delivers what is new, each
event once, however often either side dies (`delivery`). No DVC output depends on anything here, so a change never makes
a stage run again. No address with a password may be printed or stored.
"""
