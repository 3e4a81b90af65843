import numpy as np

from ....preprocessing.profile import Numbers, Observed


def read(groups, known):
    sums = np.array([sum(row["numbers"]) for group in groups for row in group], dtype=np.float64)
    return Observed(examples=len(sums), features={"sum": Numbers(sums)})
