"""JoeyNMT's side of `peers.py`, run by the Python of its own environment in turns, see `turns.py`.

JOEYNMT_ENVIRONMENT/bin/python -m benchmarks.peer_joeynmt FOLDER SETTINGS

FOLDER holds `train` and `test` with the endings `.source` and `.target`, tokens between spaces, and `vocabulary.txt`;
SETTINGS is JSON of `peers_translation.SETTINGS` and a network's. The first turns train an epoch each, the others
translate.
"""

from __future__ import annotations

import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from joeynmt.config import parse_global_args
from joeynmt.prediction import predict, prepare
from joeynmt.training import TrainManager

from .turns import Turns

NEVER = 10**9  # steps, more than any training here has


class Trainer(TrainManager):
    """Trains an epoch a call, and keeps no checkpoint, as the other side keeps none."""

    args: Any  # JoeyNMT's TrainConfig

    def epoch(self, train: Any, validation: Any) -> None:
        """One pass over the training data by JoeyNMT's own loop."""
        self.args = self.args._replace(epochs=self.stats.epochs)
        self.train_and_validate(train_data=train, valid_data=validation)
        self.stats.epochs += 1

    def _save_checkpoint(self, new_best: bool, score: float) -> None:
        pass


def configuration(folder: Path, model_dir: str, settings: dict[str, Any]) -> dict[str, Any]:
    """A configuration of JoeyNMT with a network of the size that the settings name."""
    size, dropout = settings["hidden_size"], settings["dropout"]
    embeddings = {"embedding_dim": settings["embedding_size"], "scale": settings["kind"] == "transformer"}
    layers: dict[str, Any] = {"embeddings": {**embeddings, "dropout": dropout}, "dropout": dropout}
    if settings["kind"] == "transformer":
        layers |= {"type": "transformer", "hidden_size": size, "layer_norm": "pre"}
        layers |= {"num_heads": settings["heads"], "ff_size": settings["feedforward_size"]}
        encoder = decoder = layers
    else:
        layers |= {"type": "recurrent", "rnn_type": settings["cell"]}
        encoder = {**layers, "hidden_size": size // 2, "bidirectional": True}
        decoder = {**layers, "hidden_size": size, "attention": "luong", "input_feeding": True, "init_hidden": "bridge"}
        decoder["hidden_dropout"] = dropout
    side = {"level": "word", "max_length": 1000, "voc_file": str(folder / "vocabulary.txt")}
    return {
        "name": "peer",
        "model_dir": model_dir,
        "use_cuda": False,
        "fp16": False,
        "random_seed": settings["seed"],
        "data": {
            **{split: str(folder / name) for split, name in (("train", "train"), ("dev", "test"), ("test", "test"))},
            "dataset_type": "plain",
            "src": {**side, "lang": "source"},
            "trg": {**side, "lang": "target"},
        },
        "model": {
            "initializer": "xavier_uniform",
            "embed_initializer": "xavier_uniform",
            "tied_embeddings": True,
            "tied_softmax": True,
            "encoder": {**encoder, "num_layers": settings["encoder_layers"]},
            "decoder": {**decoder, "num_layers": settings["decoder_layers"]},
        },
        "training": {
            "optimizer": "adamw",
            "adam_betas": [0.9, 0.999],
            "learning_rate": settings["learning_rate"],
            "learning_rate_min": 0.0,
            "scheduling": "exponential",
            "decrease_factor": 1.0,  # constant
            "weight_decay": settings["weight_decay"],
            "clip_grad_norm": settings["max_grad_norm"],
            "label_smoothing": settings["label_smoothing"],
            "normalization": "tokens",
            "batch_type": "token",
            "batch_size": settings["batch_tokens"],
            "shuffle": True,
            "epochs": 1,
            "logging_freq": NEVER,
            "validation_freq": NEVER,
            "early_stopping_metric": "ppl",
        },
        "testing": {
            "beam_size": settings["beam_size"],
            "beam_alpha": settings["length_penalty"],
            "batch_type": "sentence",
            "batch_size": settings["batch_size"],
            "max_output_length": settings["max_length"],
            "generate_unk": False,
            "eval_metrics": [],
        },
    }


def main() -> None:
    """The command line."""
    turns = Turns()
    folder, settings = Path(sys.argv[1]), json.loads(sys.argv[2])
    torch.set_num_threads(1)
    torch.manual_seed(settings["seed"])
    with tempfile.TemporaryDirectory() as model_dir:
        args = parse_global_args(configuration(folder, model_dir, settings), mode="train")
        model, train, validation, test = prepare(args, rank=0, mode="train")
        trainer = Trainer(
            rank=0,
            model=model,
            model_dir=args.model_dir,
            device=args.device,
            autocast=args.autocast,
            seed=args.seed,
            train_args=args.train,
            dev_args=args.test,
        )
        weights = sum(weight.numel() for weight in model.parameters())
        turns.ready({"version": f"JoeyNMT {version('joeynmt')}, torch {version('torch')}", "weights": weights})
        for _ in range(settings["epochs"]):
            before = trainer.stats.total_tokens, trainer.stats.steps
            trainer.epoch(train, validation)
            tokens, steps = trainer.stats.total_tokens - before[0], trainer.stats.steps - before[1]
            turns.answer({"tokens": tokens, "steps": steps})
        while True:
            *_, hypotheses, _, _ = predict(
                model=model, data=test, device=args.device, n_gpu=0, args=args.test, autocast=args.autocast
            )
            turns.answer({"translations": [[token for token in one if token != "</s>"] for one in hypotheses]})


if __name__ == "__main__":
    main()
