"""The measurements behind docs/training-rnns.md. `__main__.py` says how to run them."""
