"""A search over params, whose trials are runs of the pipeline, each in a worktree of its own.

`flow` asks a `study` for suggestions and runs a `trial` for each; the study's journal is on disk, so a search that was
killed goes on. The journal's names (`twin_of`, `asked_for`) are read by later versions of this code: keep them.
"""
