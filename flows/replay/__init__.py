"""The past, decided again: what each cadence of retraining would have forecast, and what it would have cost.

`raw_files` cuts the raw files at a day, `snapshot` prepares what is left, as preprocess does. `trainings` trains on it
with the train stage's own code, once for all policies; `judge` asks the registry's gate, `watch` the control charts;
`walk` takes the days in order. Nothing that is decided or forecast on a day may see a value of a later one: whatever is
added here gets its data from that day's snapshot. Trainings are kept in `.resume/replay/`, which may be deleted.
"""
