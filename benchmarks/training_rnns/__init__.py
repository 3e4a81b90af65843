"""The measurements behind docs/training-rnns.md and training-settings.md. `__main__.py` says how to run them."""
