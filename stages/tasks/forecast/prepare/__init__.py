"""Preprocess: files of any order and gaps into a store of daily series.

It writes `data/forecast/prepared`. What cannot be used is rejected by a named rule, and counted.
A change here prepares again, and retrains only where the store's bytes change.
"""
