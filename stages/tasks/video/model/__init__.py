"""The network, its batches and the augmentation of clips.

Shapes are `(batch, time, features)`. The order in which parameters are made decides the weights that are drawn for
them: a change here retrains, and may change every digit.
"""
