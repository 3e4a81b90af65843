import numpy as np
import torch
from torch import nn

from ....data.prepared import open_prepared
from ....models.batch import Batch, pad
from ....models.classification import classification_losses
from ....models.learned import ids_of, learned_ids
from ....models.network import Network
from ....models.recurrent import RecurrentStack, last_step


class Toy(Network):
    def __init__(self, hidden_size, classes):
        super().__init__()
        self.stack = RecurrentStack(1, hidden_size, cell="gru")
        self.head = nn.Linear(hidden_size, classes)

    def forward(self, batch):
        return self.head(last_step(self.stack(batch.values, batch.lengths), batch.lengths))

    def losses(self, batch):
        return classification_losses(self(batch), batch.targets)


def build(params, data):
    return Toy(params.hidden_size, len(data["classes"]))


class ToyDataset:
    def __init__(self, store, rows):
        self.store, self.rows = store, rows
        self.lengths = store.column("length")[rows]
        self.labels = store.column("label")[rows].astype(np.int64)

    def __len__(self):
        return len(self.rows)

    def name(self, example):
        return self.store.value("id", self.rows[example])

    def batch(self, examples, *, epoch=None):
        values, lengths = pad([self.store.sequence("values", row) for row in self.rows[examples]])
        return Batch(values=values, lengths=lengths, targets=torch.from_numpy(self.labels[examples]))


def dataset(folder, split, params, *, augment):
    store, _ = open_prepared(folder)
    return ToyDataset(store, store.rows(split))


def learned(folder, split):
    return learned_ids(folder, split)


def identities(folder, rows):
    return ids_of(folder, rows)
