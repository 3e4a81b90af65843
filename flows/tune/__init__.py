"""A search over params, whose trials are runs of the pipeline."""
