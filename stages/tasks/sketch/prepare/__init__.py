"""Preprocess: drawings into canonical steps, in chunks over processes, each drawing once.

It writes `data/sketch/prepared`. What cannot be used is rejected by a named rule, and counted.
A change here prepares again, and retrains only where the store's bytes change.
"""
