"""The workshop of `evaluate`: how good a model is, how sure that is, and a card that says so in words.

`report` writes the files, `bootstrap` computes intervals and comparisons, `slices` and `calibration` show where and
how a model is wrong, `classification` holds what every classifier gets, `card` writes the model's card, with the
metrics' `meanings`; `comparison` draws the test examples that versions are compared on. The gate compares versions
with the same `bootstrap`: a change of its draws changes every interval and may change who is champion.
"""
