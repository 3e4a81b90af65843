"""What the store holds of encoded frames, and the names that it has there."""

from __future__ import annotations

SIDE = 224  # pixels of the frames that are encoded: the pictures that the encoder has learned from
PICTURE = 1280  # numbers that the encoder makes of a picture
PLACES = 3 * 3 * 192  # what it has in its last block but one, in three times three places
FEATURES = PICTURE + PLACES  # numbers a frame that are kept
COLUMN, MIRRORED_COLUMN = "features", "features_mirrored"  # of frames as they are, and as a mirror shows them
ENCODER_NAME = "encoder.safetensors"  # its weights, beside the store, and in a trained model
