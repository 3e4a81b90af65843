"""Tasks: what differs between sketches, clips, sentences and series. One folder each, the same parts in each.

A task is found by its folder; `protocol.py` says what stands in it. A part (`source`, `data`, `prepare`, `model`,
`evaluate`, `serve`) is a folder, since a stage of dvc.yaml depends on folders: an edit in `source` never retrains, one
in `model` does. `data` holds what the other parts share, and imports none of them. No workshop imports a task.
"""
