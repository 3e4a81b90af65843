"""What a run of the pipeline achieved, as people see it in Prefect: tables, pictures, links.

Nothing here decides anything, and a report cannot fail a run: what cannot be shown becomes a line in the log. The
registry is asked through a process of its own, since MLflow takes seconds to import.
"""
