"""What the parts of `translation` share: readers of sentence pairs, normalised text, tokenizers."""
