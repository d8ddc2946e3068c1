"""What callers rely on in the OpenAPI document, one line each: the baseline of the contract test.

`python -m tests.contract > tests/data/contract.txt` records the committed document as the promise;
a line may be taken away only together with a new major version of the routes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from service.api import openapi

COMMITTED = Path(openapi.__file__).parent / "openapi.json"
BASELINE = Path(__file__).parent / "data" / "contract.txt"


def promises(document: Mapping[str, Any]) -> Iterator[str]:
    """Operations with their ids and parameters, and the fields of every model."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            name = operation["operationId"]
            yield f"operation {method.upper()} {path} {name}"
            for parameter in operation.get("parameters", []):
                yield f"parameter {name} {parameter['in']} {parameter['name']}"
    for name, schema in document["components"]["schemas"].items():
        yield f"model {name}"
        for field in schema.get("properties", {}):
            yield f"field {name}.{field}"
        for value in schema.get("enum", []):
            yield f"value {name} {value}"


if __name__ == "__main__":
    print("\n".join(sorted(promises(json.loads(COMMITTED.read_text("utf-8"))))))
