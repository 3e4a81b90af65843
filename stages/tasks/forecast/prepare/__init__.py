"""Preprocess: files of any order and gaps into a store of daily series."""
