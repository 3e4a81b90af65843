"""The toy's raw data, made up here: lists of numbers.

Its last line is broken, so that something is rejected.
"""
