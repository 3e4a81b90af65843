"""How a stage runs: here or on a worker, under which locks, in which worktree, and how it is stopped.

The promise that nobody else keeps stands here: however a run ends (cancelled, killed, its worker gone), no process of a
stage outlives it, and no finished work is lost. `supervisor` and `cancellation` carry it; change them only together
with `tests/system/test_stopping.py` and `test_supervisor.py`.
"""
