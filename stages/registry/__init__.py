"""The workshop of `register`, and `python -m stages.registry`: versions of models, and who of them is champion.

`versions` makes one for each new content, `gate` judges it, `aliases` moves the alias, `promotion` carries out what a
person decides; `lineage`, `verify`, `reproduce` and `garbage` tell, check, measure again and clear away. Versions that
an older checkout made must stay readable, tags and all: `tests/pipeline/test_older_versions.py`.
"""
