"""The servers of one machine or of a team's backend: Prefect, MLflow, PostgreSQL, workers, deployments, automations.

Servers bind to 127.0.0.1, and `down` stops just what `up` has started. Addresses with passwords are neither printed nor
stored; deployments name modules (`flows.pipeline:pipeline`), so a move of a flow needs `deploy` to be run again.
"""
