"""Encoded frames in the store: sizes and names, and whether they are encoded on a GPU."""

from __future__ import annotations

ENCODED_SIDE = 224  # pixels of the frames that are encoded: the pictures that the encoder has learned from
EMBEDDING_SIZE = 1280  # numbers in the encoder's embedding of a picture
FEATURE_SIZE = EMBEDDING_SIZE + 3 * 3 * 192  # stored for a frame: with its last block but one, in 3 x 3 places
FEATURES, MIRRORED_FEATURES = "features", "features_mirrored"  # columns: of frames as they are, and of mirrored ones
ENCODER_NAME = "encoder.safetensors"  # its weights, beside the store, and in a trained model
GPU = "UNROLL_GPU"  # a variable that is set in a process which has been lent a GPU, or a share of one
