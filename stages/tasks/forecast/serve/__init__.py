"""The registered forecaster: series in, the next seven days out."""
