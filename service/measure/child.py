"""The measuring process: a real model, random tokens, timed steps. Needs torch and transformers.

`python -m service.measure.child` reads a task from standard input and prints an observation.
"""

from __future__ import annotations

import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from service.measure.devices import Card, Processor
from service.trace.child import read

WARM_UP = 2
DRAW_SECONDS = 2.0
"""Steps go on for at least so long while energy is counted: NVML's counter moves every 0.1 s."""


def device_of(task: dict[str, Any]) -> Processor | Card:
    """The device that a task names."""
    if task["device"] == "cpu":
        return Processor()
    return Card(torch.cuda, importlib.import_module("pynvml") if find_spec("pynvml") else None)


def model(task: dict[str, Any]) -> Any:
    """The model with random weights: 32 bits to train, 16 to decode on a card."""
    config = read(task["config"])
    half = task["device"] == "cuda" and task["activity"] == "decoding"
    made = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    return made.to(task["device"], torch.bfloat16 if half else torch.float32)


def training(task: dict[str, Any]) -> Callable[[], None]:
    """A whole optimizer step on the same random tokens."""
    network = model(task).train()
    optimizer = torch.optim.AdamW(network.parameters())
    tokens = _tokens(task, network)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(task["device"], torch.bfloat16, enabled=task["device"] == "cuda"):
            loss = network(input_ids=tokens, labels=tokens).loss
        loss.backward()
        optimizer.step()

    return step


def decoding(task: dict[str, Any]) -> Callable[[], None]:
    """One more token of each sequence, after prompts have been read."""
    network = model(task).eval()
    with torch.inference_mode():
        state = network(input_ids=_tokens(task, network), use_cache=True, logits_to_keep=1)

    def step() -> None:
        nonlocal state
        with torch.inference_mode():
            following = state.logits[:, -1:].argmax(-1)
            state = network(
                input_ids=following, past_key_values=state.past_key_values, use_cache=True
            )

    return step


def _tokens(task: dict[str, Any], network: Any) -> torch.Tensor:
    shape = (task["batch_size"], task["sequence_length"])
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(network.config.vocab_size, shape, generator=generator)
    return tokens.to(task["device"])


def timed(step: Callable[[], None], steps: int, device: Processor | Card) -> list[float]:
    """Seconds of each step."""
    found = []
    for _ in range(steps):
        started = time.perf_counter()
        step()
        device.wait()
        found.append(time.perf_counter() - started)
    return found


def drawn(step: Callable[[], None], device: Processor | Card) -> float | None:
    """Mean watts of the board over training steps; None where nothing counts its energy."""
    before, started = device.joules(), time.perf_counter()
    if before is None:
        return None
    while time.perf_counter() - started < DRAW_SECONDS:
        step()
        device.wait()
    after = device.joules()
    return None if after is None else (after - before) / (time.perf_counter() - started)


def measured(task: dict[str, Any]) -> dict[str, Any]:
    """The observation of a task."""
    device = device_of(task)
    step = {"training": training, "decoding": decoding}[task["activity"]](task)
    timed(step, WARM_UP, device)
    seconds = timed(step, task["steps"], device)
    memory = device.memory()
    return {
        "step_seconds": statistics.median(seconds),
        "watts": drawn(step, device) if task["activity"] == "training" else None,
        "device": f"{device.name()}, torch {torch.__version__}",
        **memory,
    }


def main() -> None:
    """Read a task, print what it took."""
    json.dump(measured(json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main()
