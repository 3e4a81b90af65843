"""Work on a Ray cluster, where UNROLL_RAY names one: parts of a preparation, ranks of a training, rows to answer.

`connection` reads the variable and connects, `mapping` works on items in their order, `ranks` starts processes that
train together. None of it decides what comes out, so it is glue, and the callers hand over what to run: it stands
below them. Ray is imported only where the variable is set; without it nothing here is.
"""
