import numpy as np
import torch

from ....models.batch import Batch, pad
from ....models.classification import ranked
from ....models.weights import load_network
from ....serving.predictor import Predictor as Base
from ..model.network import build
from ..params import Model


class Predictor(Base):
    inputs = {"numbers": "any"}
    outputs = {"label": "string", "probability": "double", "top5_labels": "strings", "top5_probabilities": "doubles"}
    requirements = ()

    def __init__(self, folder):
        self.network, self.data = load_network(folder, build, Model)

    def read(self, item):
        if not len(item.content["numbers"]):
            raise ValueError("numbers: found none; allowed: one or more")
        return np.asarray(item.content["numbers"], dtype=np.float32)[:, None]

    def predict_batch(self, examples, options):
        values, lengths = pad(examples)
        with torch.inference_mode():
            return [[row] for row in ranked(self.network(Batch(values=values, lengths=lengths)), self.data["classes"])]
