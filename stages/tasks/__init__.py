"""Tasks: what differs between sketches, clips, sentences and series. One folder each, with parts of the same names.

A task is found by its folder; `protocol.py` says what stands in it. A part (`source`, `data`, `prepare`, `model`,
`evaluate`, `serve`) is a folder, since a stage of dvc.yaml depends on folders: an edit in `source` never retrains,
one in `model` does. `data` holds what the other parts share, and imports none of them; a task that learns from
another's data has neither `source`, `data` nor `prepare`. No workshop imports a task.
"""
