"""Predicted against measured, and the run that tells the service of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from service.measure.cases import Case
from service.measure.steps import Observation

Ask = Callable[[str, str, Any], tuple[int, Any]]
"""Sends (method, path, document or None) to the service; gives its status and document."""


class AskError(RuntimeError):
    """The service refused; the message is its problem's detail."""


class Compared(NamedTuple):
    """One quantity of a case."""

    case: Case
    quantity: str
    value: float
    low: float
    high: float
    measured: float

    def line(self) -> str:
        """As a line of the table."""
        interval = f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g})"
        return (
            f"{self.case.model:<16}{self.case.activity:<10}{self.quantity:<26}{interval:<36}"
            f"{self.measured:<12.4g}{self.measured / self.value:.2f}"
        )


HEAD = f"{'model':<16}{'step':<10}{'quantity':<26}{'predicted (90 %)':<36}{'measured':<12}ratio"


def config_of(ask: Ask, model: str) -> dict[str, Any]:
    """The config.json of a catalog model. Raises AskError."""
    architecture = _asked(ask, "GET", f"/models/{model}", None)["architecture"]
    if architecture["kind"] != "huggingface":
        raise AskError(f"{model} has no config.json in the catalog; measure another model")
    config: dict[str, Any] = architecture["config"]
    return config


def compared(ask: Ask, case: Case, found: Observation, cluster: str | None) -> list[Compared]:
    """Each measured quantity beside its estimate, by the cluster's own runs where it has some.

    Raises AskError.
    """
    request = case.request() | ({"cluster": cluster} if cluster else {})
    answer = _asked(ask, "POST", "/estimate", request)
    section, name = {
        "training": ("time", "step_seconds"),
        "decoding": ("serving", "decode_seconds_per_token"),
    }[case.activity]
    pairs = [(name, answer[section][name], found.step_seconds)]
    if found.peak_bytes:
        pairs.append(("peak_bytes", answer["memory"]["peak_bytes"], found.peak_bytes))
    return [Compared(case, name, **interval, measured=seen) for name, interval, seen in pairs]


def submission(case: Case, found: Observation, cluster: str, moment: str) -> dict[str, Any]:
    """The body of POST /runs. `moment` tells one call of the command from the next."""
    rate = case.setup.batch_size / found.step_seconds
    speed = (
        {"step_seconds": found.step_seconds}
        if case.activity == "training"
        else {"tokens_per_second": rate}
    )
    peak = {"peak_bytes": found.peak_bytes} if found.peak_bytes else {}
    watts = "" if found.watts is None else f"; the board drew {found.watts:.0f} W"
    return {
        "id": f"measured/{cluster}/{moment}/{case.model}/{case.activity}",
        "cluster": cluster,
        "request": case.request(),
        "observed": speed | peak,
        "provenance": {
            "source": f"python -m service measure on {found.device}{watts}",
            "licence": "not stated",
        },
    }


def post(ask: Ask, run: dict[str, Any]) -> str:
    """Record a run and return its id. Raises AskError."""
    return str(_asked(ask, "POST", "/runs", run)["name"])


def _asked(ask: Ask, method: str, path: str, body: Any) -> Any:
    status, document = ask(method, path, body)
    if status not in (200, 201):
        raise AskError(f"{method} {path}: {document.get('detail', document)}")
    return document
