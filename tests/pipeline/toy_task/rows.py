import json

from ...data.text import AUTO
from ...serving.lines import lines

INPUT = "numbers.ndjson, a list of numbers a line"
KEY = {"number": "long"}
CHUNK_SIZE = 2


def groups(source, encoding=AUTO):
    for number, text, _ in lines(source, encoding, max_length=1000):
        yield [{"number": number, "numbers": json.loads(text)}]


def example(folder, columns):
    return [{"numbers": [0.0, 1.0]}]
