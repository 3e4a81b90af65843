"""What the store holds of encoded frames, and the names that it has there."""

from __future__ import annotations

SIDE = 224  # pixels of the frames that are encoded: the pictures that the encoder has learned from
FEATURES = 1280  # numbers that it makes of a frame
COLUMN, MIRRORED_COLUMN = "features", "features_mirrored"  # of frames as they are, and as a mirror shows them
ENCODER_NAME = "encoder.safetensors"  # its weights, beside the store, and in a trained model
