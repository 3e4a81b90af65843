"""What the parts of the toy task share: nothing, but dvc.yaml names the folder for every task."""
