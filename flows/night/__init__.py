"""A night: what the scheduled run does beyond a run by hand, from the question whether a source has anything new to the
report.

What is decided here is when; what there is to know (refresh, drift, scores, forecasts) are verbs of `stages/`, each run
in a process of its own.
"""
