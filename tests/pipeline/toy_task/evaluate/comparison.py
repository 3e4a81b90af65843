import pandas as pd

from ....evaluation.bootstrap import accuracy
from ....evaluation.comparison import test_examples


def examples(prepared, raw, limit):
    store, rows = test_examples(prepared, limit)
    return pd.DataFrame({"numbers": [store.sequence("values", row)[:, 0].tolist() for row in rows]})


def scores(answers, prepared, raw, limit):
    store, rows = test_examples(prepared, limit)
    return accuracy(answers["label"].tolist(), [["no", "yes"][store.value("label", row)] for row in rows])
