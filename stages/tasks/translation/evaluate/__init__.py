"""Evaluate: scores of the test sentences, baselines, pictures, and how versions are compared."""
