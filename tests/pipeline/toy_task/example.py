def example(folder, columns):
    return [{"numbers": [0.0, 1.0]}]
