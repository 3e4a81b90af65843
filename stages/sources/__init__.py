"""Pins of sources: which version of which file a task's data are, in `sources/TASK.json`, a dep of the download stage.

`pins` is the file, `fetched` the cache of what was fetched, `pinned` the host that download meets where there is a pin,
`records` and `compare` say what became of a file's past, `dvc_cache` finds DVC's files by md5. Only `stages.refresh`
asks a host whether there is something newer. A change here makes download run again; it finds all files in `.fetched/`
or in DVC's cache.
"""
