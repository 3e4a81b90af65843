"""The network, its batches and the augmentation of clips."""
