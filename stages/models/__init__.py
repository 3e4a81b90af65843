"""Networks' parts and the batches they read: layers, attention, search, weights on disk.

Shapes are `(batch, time, features)` and stand in every docstring. Nothing here knows params.yaml, and no file but
those of the weights' folder. A change retrains every task, and may change the bits of its weights.
"""
