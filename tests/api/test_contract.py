"""Nothing that callers rely on goes away: the live document against the recorded promise."""

from __future__ import annotations

import httpx

from tests.contract import BASELINE, promises


def test_no_operation_parameter_model_or_field_was_taken_away(client: httpx.Client) -> None:
    kept = set(promises(client.get("/openapi.json").json()))
    broken = [line for line in BASELINE.read_text("utf-8").splitlines() if line not in kept]
    assert broken == [], "a breaking change of the API: " + "; ".join(broken)
