"""What the parts of `toy` share: nothing.

The lists of numbers go into the store and out of it as they are. The folder stands here because dvc.yaml names it for
every task.
"""
