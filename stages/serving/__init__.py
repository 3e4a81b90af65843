"""Serving: the predictors of registered models, and the readers and writers of users' files around them.

`predictor` and `pyfunc` travel inside every registered model as a copy, so they import only what may travel too:
neither MLflow's client nor training nor params.yaml. A change there is a new version of every model, and the versions
of before keep answering with their own copy.
"""
