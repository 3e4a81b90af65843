"""Raw clips into the sequence store, and which split each goes to.

It writes `data/video/prepared`. What cannot be used is rejected by a named rule, and counted.
A change here prepares again, and retrains only where the store's bytes change.
"""
