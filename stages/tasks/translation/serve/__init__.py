"""The registered translator: a text in, its translation out.

It travels as a copy inside each registered version. Its columns are a contract with those who load models; a change
here makes a new version.
"""
