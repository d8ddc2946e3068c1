"""The verb that measures the caller's own device."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from service import settings
from service.cli.asking import KEY, authorization, sent
from service.measure import Ask, AskError, Case, MeasureError, Setup, cases, config_of, observed
from service.measure.cases import MODELS
from service.measure.comparing import HEAD, compared, post, submission
from service.measure.devices import looks_like


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the verb."""
    verb = verbs.add_parser(
        "measure",
        help="run short steps on this machine's device beside their estimates (needs torch)",
        description="Runs short training and decoding steps of catalog models and prints predicted "
        "against measured. On a CPU, name the accelerator to be set beside it: the cluster's "
        "factor then holds the difference.",
        epilog=f"{KEY} holds the secret that is sent with --server.",
    )
    verb.add_argument("--accelerator", required=True, help="the catalog's name of the device")
    verb.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    verb.add_argument("--models", nargs="+", default=list(MODELS), metavar="NAME")
    verb.add_argument("--sequence-length", type=int, default=Setup.sequence_length)
    verb.add_argument("--batch-size", type=int, default=Setup.batch_size)
    verb.add_argument("--steps", type=int, default=Setup.steps)
    verb.add_argument("--cluster", help="post what was measured as runs of this cluster")
    verb.add_argument(
        "--server", metavar="URL", help="ask and post there; default: in this process"
    )


def measure(found: settings.Settings, options: argparse.Namespace) -> int:
    """Measure every case, print it, and post it where a cluster is named."""
    setup = Setup(
        options.accelerator,
        options.device,
        tuple(options.models),
        options.sequence_length,
        options.batch_size,
        options.steps,
    )
    ask = _server(options.server) if options.server else _here(found)
    moment = f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
    print(HEAD)
    try:
        for case in cases(setup):
            _one(ask, case, options.cluster, moment)
    except (MeasureError, AskError) as error:
        print(f"model-sizing: {error}", file=sys.stderr)
        return 1 if isinstance(error, MeasureError) else 2
    return 0


def _one(ask: Ask, case: Case, cluster: str | None, moment: str) -> None:
    seen = observed(case.task(config_of(ask, case.model)))
    for row in compared(ask, case, seen, cluster):
        print(row.line(), flush=True)
    if seen.allocated_bytes and seen.reserved_bytes:
        print(f"  allocated {seen.allocated_bytes:.4g}, reserved {seen.reserved_bytes:.4g} bytes")
    if case.setup.device == "cuda" and not looks_like(seen.device, case.setup.accelerator):
        print(f"  this is {seen.device}; the estimate is for {case.setup.accelerator}")
    if seen.watts:
        print(f"  the board drew {seen.watts:.0f} W")
    if cluster:
        print(f"  posted {post(ask, submission(case, seen, cluster, moment))}", flush=True)


def _server(url: str) -> Ask:
    def ask(method: str, path: str, body: Any) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        status, answer = sent(method, url.rstrip("/") + path, data, authorization())
        return status, json.loads(answer)

    return ask


def _here(found: settings.Settings) -> Ask:
    """The catalog of this process' settings, which whoever runs the command may write to."""
    own = replace(found, host="127.0.0.1", api_keys=())

    def ask(method: str, path: str, body: Any) -> tuple[int, Any]:
        from service.api.inprocess import answered

        data = b"" if body is None else json.dumps(body).encode()
        status, answer = asyncio.run(answered(own, path, data, method))
        return status, json.loads(answer)

    return ask
