"""The workshop of `register`, and `python -m stages.registry`: versions of models, and who of them is champion.

`versions` makes one for each new content (`packaging`, `latency`), `gate` judges it, `decision` keeps what was
decided, `champion` moves the alias, `promotion` carries out a person's decision; `lineage`, `status` and `table` show
versions, `verify` checks them, `reproduce` measures them again, `garbage` removes them. Versions that an older
checkout made must stay readable, tags and all: `tests/pipeline/test_older_versions.py`.
"""
