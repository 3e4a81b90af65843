"""The workshop of what watches a model once it is served: does it still get what it learned from, are its answers good?

`forecast_store` keeps what a champion has forecast, `forecasting` asks it, `scoring` compares with what came, by the
`control_chart` that raises alarms, and `score_picture` draws it. Nothing here is an output of a stage: state lies in
`scores/` and in the store, and every verdict is a function of both data and store. The chart looks back only: a value
that changes later changes no decision on an earlier day, and the replay rests on that.
"""
