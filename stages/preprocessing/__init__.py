"""The workshop of `preprocess`: the output folder of a preparation, and work in several processes.

`preparation` counts what was accepted, repaired and rejected, and refuses where too much was; `workers` keeps the order
of results whatever the number of processes. What a record is, and when it is bad, each task's `prepare` says.
"""
