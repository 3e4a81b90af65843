"""The translators: a recurrent one and a Transformer, and their translations by search or sampling.

Shapes are `(batch, time, features)`. The order in which parameters are made decides the weights that are drawn for
them: a change here retrains, and may change every digit.
"""
