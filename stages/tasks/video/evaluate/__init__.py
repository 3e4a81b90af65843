"""Metrics and pictures of the test clips, baselines, and the comparison with a registered model."""
