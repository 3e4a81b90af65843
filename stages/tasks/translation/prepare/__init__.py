"""Preprocess: pairs of sentences into token numbers, and the tokenizers."""
