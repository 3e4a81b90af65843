"""When and where: Prefect flows over the pipeline that dvc.yaml describes."""
