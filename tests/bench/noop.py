"""A route with the request and response models of POST /estimate and nothing between them.

`python -m tests.bench.noop ANSWER.json` serves it on the port of MODEL_SIZING_PORT.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from service.api.requests import EstimateRequest
from service.api.responses import EstimateResponse


def main(answer: Path) -> None:
    """Serve until ended."""
    response = EstimateResponse.model_validate_json(answer.read_bytes())
    app = FastAPI(separate_input_output_schemas=False)

    @app.post("/estimate", response_model=EstimateResponse)
    async def estimate(request: EstimateRequest) -> EstimateResponse:
        return response

    @app.get("/readyz")
    async def ready() -> dict[str, str]:
        return {}

    port = int(os.environ["MODEL_SIZING_PORT"])
    uvicorn.run(app, host="127.0.0.1", port=port, log_config=None, access_log=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
