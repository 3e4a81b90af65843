import json

import numpy as np
import pyarrow as pa

from ....data.store import ragged


def prepare(raw, params, output):
    with output.store({"values": ragged(np.float32, 1), "label": pa.int8()}) as store:
        for number, line in enumerate((raw / "toy.ndjson").read_text(encoding="utf-8").splitlines()):
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                output.reject(id=str(number), file="toy.ndjson", rule="not_json", reason="not JSON", content=line)
                continue
            values = np.array(record["numbers"], dtype=np.float32)[:, None] * params.scale
            store.append(
                {
                    "id": str(record["id"]),
                    "split": ("test", "validation", "train", "train")[number % 4],
                    "length": len(values),
                    "values": values,
                    "label": int(values.sum() > 0),
                }
            )
    output.describe({"classes": ["no", "yes"]})
