"""The registered toy: a list of numbers in, a label out.

It reads and answers as any registered model does; `serving/` has the rest.
"""
