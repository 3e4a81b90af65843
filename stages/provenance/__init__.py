"""What a result depends on, as hashes: of data, of params, and of the code that a module runs with.

`imports` reads the project's imports without importing anything; the deps of dvc.yaml and the code that travels in a
registered model both follow from it. `hashes` computes DVC's own digests. A change here changes the signature of every
training, so an interrupted one starts anew.
"""
