import json

import numpy as np


def requests(params, folder, host):
    return []


def records(params, name):
    return None


def download(params, folder, host):
    generator = np.random.Generator(np.random.Philox(5))
    with (folder / "toy.ndjson").open("w", encoding="utf-8") as file:
        for index in range(params.count):
            numbers = generator.normal(size=int(generator.integers(3, 12))).round(3).tolist()
            file.write(json.dumps({"id": index, "numbers": numbers}) + "\n")
        file.write("not json\n")
