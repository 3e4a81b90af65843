"""What a result depends on, as hashes: of data, of params, and of the code that a module runs with.

`imports` reads the project's imports without importing anything: by it the code that travels in a registered model is
chosen, and the tests compare the deps of dvc.yaml with it. `hashes` computes DVC's own digests. A change here makes
train, evaluate and register run again; their outputs must stay what they are.
"""
