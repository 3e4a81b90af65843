"""What the parts of `translation` share: readers of sentence pairs, normalised text, tokenizers.

Several stages read it, training among them, so a change here retrains. It imports no other part of the task.
"""
