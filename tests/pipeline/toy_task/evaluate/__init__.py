"""How good the toy is: `evaluate` for the stage, `examples` and `scores` for the gate, the card's words.

The metric is the accuracy of `yes` and `no`; there are no pictures and no baselines beside the larger class.
"""
