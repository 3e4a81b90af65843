"""The workshop of `evaluate`: what a task's evaluation found, and how sure it is.

`report` writes the files, `bootstrap` the intervals and comparisons, `slices` and `calibration` show where and how a
model is wrong, `classification` what every classifier gets, `card` puts it into words. The gate compares versions with
the same `bootstrap`: a change of its draws changes every interval and may change who is champion.
"""
