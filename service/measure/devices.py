"""What a device says of itself: its name, its peak memory, and what its board draws.

Both kinds take what they read from, so that they can be tried on recorded answers: the CPU its
`/proc` files, the card `torch.cuda` and NVML (`pynvml` of nvidia-ml-py, or None).
"""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import Any

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
    """The current CUDA device, which nothing else should be using.

    A slice of a card (MIG) has memory of its own; what the board draws is everybody's, so a slice
    has no energy: NVML knows its UUID, but not as that of a board.
    """

    def __init__(self, cuda: Any, nvml: Any | None) -> None:
        cuda.init()
        cuda.reset_peak_memory_stats()
        self.cuda = cuda
        self.nvml = nvml
        self.board = None if nvml is None else _board(nvml, cuda)

    def name(self) -> str:
        """What its driver calls it."""
        return str(self.cuda.get_device_name())

    def wait(self) -> None:
        """Until what was launched is done."""
        self.cuda.synchronize()

    def joules(self) -> float | None:
        """Of the board since its driver was loaded; NVML counts millijoules, from Volta on."""
        if self.board is None or self.nvml is None:
            return None
        return float(self.nvml.nvmlDeviceGetTotalEnergyConsumption(self.board)) / 1e3

    def memory(self) -> dict[str, float | None]:
        """Peaks since the start; bytes. The device's own: the allocator's peak and the context."""
        free, total = self.cuda.mem_get_info()
        context = float(total - free - self.cuda.memory_reserved())
        reserved = float(self.cuda.max_memory_reserved())
        return {
            "peak_bytes": min(reserved + context, float(total)),
            "allocated_bytes": float(self.cuda.max_memory_allocated()),
            "reserved_bytes": reserved,
        }


def _board(nvml: Any, cuda: Any) -> Any | None:
    """NVML's handle of the current CUDA device; None where it has no energy counter."""
    try:
        nvml.nvmlInit()
        identity = cuda.get_device_properties(cuda.current_device()).uuid
        board = nvml.nvmlDeviceGetHandleByUUID(f"GPU-{identity}")
        nvml.nvmlDeviceGetTotalEnergyConsumption(board)
    except nvml.NVMLError:
        return None
    return board


def looks_like(device: str, accelerator: str) -> bool:
    """Whether a device's own name holds the model that an accelerator's catalog name begins with.

    `a100-sxm4-80gb` is told by `a100`, `rtx-4090` by `4090`.
    """
    model = next((part for part in accelerator.lower().split("-") if re.search(r"\d", part)), "")
    return model in re.split(r"[^a-z0-9]+", device.lower())
