"""The registered model: clips at any path or address to classes."""
