"""The forecaster: windows and their features, covariates, recurrent decoders, calibration."""
