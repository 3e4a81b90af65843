"""Evaluate: scores of the test days, baselines, pictures, and how versions are compared."""
