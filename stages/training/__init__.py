"""The workshop of `train`: the loop, and what a step, an epoch and a stop are made of.

Two promises hold everywhere: a training that was killed at any step ends with the bytes of one that was not, and
ranks change, up to rounding and dropout's masks, the speed alone. Whatever a step draws is a function of (seed, step,
rank, part); whatever state goes from step to step belongs into `progress` or the checkpoint's tensors.
`tests/unit/test_resume.py` stops after every single step.
"""
