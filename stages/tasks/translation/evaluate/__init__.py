"""Evaluate: scores of the test sentences, baselines, pictures, and how versions are compared.

Baselines are measured here, on the same split as the network. A change here measures again, and may change which
version becomes champion.
"""
