import json

from ...serving.lines import lines

INPUT = "numbers.ndjson, a list of numbers a line"
KEY = {"number": "long"}
CHUNK_SIZE = 2


def groups(source):
    for number, line in lines(source, max_bytes=1000):
        yield [{"number": number, "numbers": json.loads(line)}]


def example(folder, columns):
    return [{"numbers": [0.0, 1.0]}]
