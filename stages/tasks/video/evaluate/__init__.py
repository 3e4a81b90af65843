"""Metrics and pictures of the test clips, baselines, and the comparison with a registered model.

Baselines are measured here, on the same split as the network. A change here measures again, and may change which
version becomes champion.
"""
