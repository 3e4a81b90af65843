"""The forecaster: windows and their features, covariates, recurrent decoders, calibration.

Shapes are `(batch, time, features)`. The order in which parameters are made decides the weights that are drawn for
them: a change here retrains, and may change every digit.
"""
