"""The workshop of what watches a model once it is served: does it still get what it learned from, are its answers good?

`comparison` and `series_comparison` say how far two samples, or the newest weeks of a series and those before, lie
apart, and how surely; `drift` puts new data beside the profile of the champion (`preprocessing/profile.py` makes them).
`forecast_store` keeps what a champion has forecast, `forecasting` asks it, `scoring` compares with what came, by the
`control_chart` that raises alarms; `retraining` says whether new data is reason enough to train again. Nothing here is
an output of a stage, and no stage depends on it: a limit can be moved without running anything again. The chart looks
back only: a value that changes later changes no decision on an earlier day, and the replay rests on that.
"""
