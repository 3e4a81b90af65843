"""Preprocess: pairs of sentences into token numbers, and the tokenizers.

It writes `data/translation/prepared`. What cannot be used is rejected by a named rule, and counted.
A change here prepares again, and retrains only where the store's bytes change.
"""
