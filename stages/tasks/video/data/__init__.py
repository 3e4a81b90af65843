"""What the parts of `video` share: columns of the store, clips decoded to frames, frozen encoders."""
