"""The measuring process: a real model, random tokens, timed steps. Needs torch and transformers.

`python -m service.measure.child` reads a task from standard input and prints an observation.
"""

from __future__ import annotations

import json
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from service.trace.child import read

WARM_UP = 2
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident(name: str) -> float | None:
    """`VmRSS` or `VmHWM` of this process, bytes; None where the system tells none."""
    if not STATUS.exists():
        return None
    found = re.search(rf"^{name}:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
    return float(found[1]) * 1024 if found else None


class Processor:
    """The CPU: memory is the growth of the resident set."""

    def __init__(self) -> None:
        if CLEAR.exists():
            CLEAR.write_text("5")  # the high-water mark starts again from here
        self.before = resident("VmRSS")

    def name(self) -> str:
        """What the system calls it."""
        return platform.processor() or platform.machine()

    def wait(self) -> None:
        """Everything is done when a call returns."""

    def joules(self) -> float | None:
        """Not told without rights that a measurement should not ask for."""
        return None

    def memory(self) -> dict[str, float | None]:
        """Peaks since the start; bytes."""
        peak, before = resident("VmHWM"), self.before
        grown = None if peak is None or before is None else peak - before
        return {"peak_bytes": grown, "allocated_bytes": None, "reserved_bytes": None}


class Card:
    """A CUDA device, which nothing else should be using."""

    def __init__(self) -> None:
        torch.cuda.init()
        torch.cuda.reset_peak_memory_stats()
        self.board = _board()

    def name(self) -> str:
        """What its driver calls it."""
        return str(torch.cuda.get_device_name())

    def wait(self) -> None:
        """Until what was launched is done."""
        torch.cuda.synchronize()

    def joules(self) -> float | None:
        """Of the board since its driver was loaded (NVML counts millijoules)."""
        if self.board is None:
            return None
        import pynvml

        return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(self.board)) / 1e3

    def memory(self) -> dict[str, float | None]:
        """Peaks since the start; bytes. The device's own: the allocator's peak and the context."""
        free, total = torch.cuda.mem_get_info()
        context = float(total - free - torch.cuda.memory_reserved())
        reserved = float(torch.cuda.max_memory_reserved())
        allocated = float(torch.cuda.max_memory_allocated())
        return {
            "peak_bytes": reserved + context,
            "allocated_bytes": allocated,
            "reserved_bytes": reserved,
        }


def _board() -> Any:
    """NVML's handle of the current CUDA device; None without nvidia-ml-py or its counter."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        identity = torch.cuda.get_device_properties(0).uuid
        board = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{identity}")
        pynvml.nvmlDeviceGetTotalEnergyConsumption(board)
    except pynvml.NVMLError:
        return None
    return board


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


def measured(task: dict[str, Any]) -> dict[str, Any]:
    """The observation of a task."""
    device = Card() if task["device"] == "cuda" else Processor()
    step = {"training": training, "decoding": decoding}[task["activity"]](task)
    timed(step, WARM_UP, device)
    before = device.joules()
    seconds = timed(step, task["steps"], device)
    after = device.joules()
    drawn = None if before is None or after is None else (after - before) / sum(seconds)
    return {
        "step_seconds": statistics.median(seconds),
        "watts": drawn or None,
        "device": f"{device.name()}, torch {torch.__version__}",
        **device.memory(),
    }


def main() -> None:
    """Read a task, print what it took."""
    json.dump(measured(json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main()
