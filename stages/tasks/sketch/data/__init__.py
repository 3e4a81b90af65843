"""What the parts of `sketch` share: readers of Quick, Draw!'s files, strokes, their simplification and augmentation."""
