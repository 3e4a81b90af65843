import numpy as np
import torch

from ....evaluation.classification import report_classification
from ....evaluation.slices import quarters
from ....training.inference import predict
from ..model.network import dataset


def evaluate(network, folder, params, report):
    test = dataset(folder, "test", params, augment=False)
    probabilities = predict(network, test, 64, lambda batch: torch.softmax(network(batch).double(), dim=1))
    report_classification(
        report,
        probabilities,
        test.labels,
        ["no", "yes"],
        names=[test.name(example) for example in range(len(test))],
        groups=np.arange(len(test)),
        slices={"numbers": quarters(test.lengths)},
    )
    report.add_metrics({"baseline_majority_accuracy": max(test.labels.mean(), 1 - test.labels.mean())})
