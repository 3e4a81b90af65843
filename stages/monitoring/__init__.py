"""The workshop of what is watched after a model serves: whether its input has changed, and whether its answers hold.

`comparison` and `series_comparison` say how far two samples, or the newest weeks of a series and those before, lie
apart, and how surely; `drift` puts the newly prepared data, or a user's files, beside the profile of the champion. No
stage depends on it: a limit can be moved without running anything again. `preprocessing/profile.py` makes the profiles.
"""
