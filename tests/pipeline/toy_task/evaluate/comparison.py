import pandas as pd

from ....evaluation.bootstrap import accuracy
from ....evaluation.comparison import test_examples, test_ids
from ....models.learned import Identities


def identities(prepared):
    return Identities(test_ids(prepared))


def examples(prepared, raw, chosen):
    store, rows = test_examples(prepared, chosen)
    return pd.DataFrame({"numbers": [store.sequence("values", row)[:, 0].tolist() for row in rows]})


def scores(answers, prepared, raw, chosen):
    store, rows = test_examples(prepared, chosen)
    return accuracy(answers["label"].tolist(), [["no", "yes"][store.value("label", row)] for row in rows])
