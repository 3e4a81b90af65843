"""The registered model: clips at any path or address to classes.

It travels as a copy inside each registered version. Its columns are a contract with those who load models; a change
here makes a new version.
"""
