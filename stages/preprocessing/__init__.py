"""The workshop of `preprocess`: the output of a preparation, what is kept for the next one, work in several processes.

`preparation` counts what was accepted, repaired and rejected, and refuses where too much was; `kept_parts` finds again
what has been worked out before; `workers` keeps the order of results whatever the number of processes. What a record
is, and when it is bad, each task's `prepare` says.
"""
