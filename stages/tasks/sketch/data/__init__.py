"""What the parts of `sketch` share: from Quick, Draw!'s files to canonical steps, and the drawings of a split."""
