import pandas as pd

from ....data.prepared import open_prepared
from ....evaluation.bootstrap import accuracy, evenly


def examples(prepared, raw, limit):
    store, rows = test(prepared, limit)
    return pd.DataFrame({"numbers": [store.sequence("values", row)[:, 0].tolist() for row in rows]})


def scores(answers, prepared, raw, limit):
    store, rows = test(prepared, limit)
    return accuracy(answers["label"].tolist(), [["no", "yes"][store.value("label", row)] for row in rows])


def test(prepared, limit):
    store, _ = open_prepared(prepared)
    rows = store.rows("test")
    return store, rows[evenly(len(rows), limit)]
