"""What the parts of `forecast` share: series by day, and the holidays they know.

Several stages read it, training among them, so a change here retrains. It imports no other part of the task.
"""
