"""The registered translator: a text in, its translation out."""
