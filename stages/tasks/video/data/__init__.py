"""What the parts of `video` share: columns of the store, clips decoded to frames, frozen encoders.

Several stages read it, training among them, so a change here retrains. It imports no other part of the task.
"""
