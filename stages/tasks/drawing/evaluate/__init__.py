"""Evaluate: how many drawings the judge recognises, their likelihood, pictures, how versions are compared.

Baselines are measured here, on the same split as the network. A change here measures again, and may change which
version becomes champion.
"""
