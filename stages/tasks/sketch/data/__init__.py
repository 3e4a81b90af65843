"""What the parts of `sketch` share: from Quick, Draw!'s files to canonical steps, and the drawings of a split.

Several stages read it, training among them, so a change here retrains. It imports no other part of the task.
"""
