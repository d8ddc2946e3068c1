"""Reading a card, from what torch and NVML answer on one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from service.measure.devices import STATUS, Card, Processor, looks_like

GIB = float(2**30)
UUID = "5b0f5e2c-9d1f-4c55-8f5e-1c1f3a7f0d11"


class NVMLError(Exception):
    """As pynvml's."""


class Nvml:
    """A driver that knows some boards; its energy counter moves by 250 J a reading."""

    NVMLError = NVMLError

    def __init__(self, boards: tuple[str, ...] = (f"GPU-{UUID}",), counts: bool = True) -> None:
        self.boards, self.counts = boards, counts
        self.millijoules = 7_000_000_000
        self.started = False

    def nvmlInit(self) -> None:
        self.started = True

    def nvmlDeviceGetHandleByUUID(self, identity: str) -> str:
        if not self.started or identity not in self.boards:
            raise NVMLError("not found")
        return identity

    def nvmlDeviceGetTotalEnergyConsumption(self, board: str) -> int:
        if not self.counts or board not in self.boards:
            raise NVMLError("not supported")
        self.millijoules += 250_000
        return self.millijoules


class Cuda:
    """torch.cuda of an 80 GiB card on which 3 GiB are held now and 5 GiB were at the peak."""

    def __init__(self, name: str = "NVIDIA A100-SXM4-80GB") -> None:
        self.calls: list[str] = []
        self.known = name

    def init(self) -> None:
        self.calls.append("init")

    def reset_peak_memory_stats(self) -> None:
        self.calls.append("reset")

    def synchronize(self) -> None:
        self.calls.append("synchronize")

    def current_device(self) -> int:
        return 0

    def get_device_properties(self, device: int) -> Any:
        assert device == 0
        return SimpleNamespace(uuid=UUID)

    def get_device_name(self) -> str:
        return self.known

    def mem_get_info(self) -> tuple[int, int]:
        return int(76.5 * GIB), int(80 * GIB)

    def memory_reserved(self) -> int:
        return int(3 * GIB)

    def max_memory_reserved(self) -> int:
        return int(5 * GIB)

    def max_memory_allocated(self) -> int:
        return int(4.5 * GIB)


def test_the_peak_of_a_card_is_its_allocators_and_the_context_beside() -> None:
    """80 GiB less 76.5 free less 3 reserved leave half a GiB of context."""
    cuda = Cuda()
    card = Card(cuda, None)
    assert cuda.calls == ["init", "reset"]
    assert card.memory() == {
        "peak_bytes": 5.5 * GIB,
        "allocated_bytes": 4.5 * GIB,
        "reserved_bytes": 5.0 * GIB,
    }
    card.wait()
    assert cuda.calls[-1] == "synchronize"


def test_the_board_is_found_by_the_cards_identity_and_counts_joules() -> None:
    card = Card(Cuda(), Nvml())
    first, second = card.joules(), card.joules()
    assert first is not None
    assert second is not None
    assert second - first == 250.0
    assert first == pytest.approx(7e6, rel=1e-3)


@pytest.mark.parametrize(
    "nvml",
    [None, Nvml(counts=False), Nvml(boards=()), Nvml(boards=(f"MIG-{UUID}",))],
    ids=["no library", "before Volta", "another driver", "a slice of a card"],
)
def test_a_card_without_an_energy_counter_of_its_own_has_no_joules(nvml: Nvml | None) -> None:
    assert Card(Cuda(), nvml).joules() is None


def test_a_processor_tells_growth_and_no_energy() -> None:
    device = Processor()
    assert device.joules() is None
    device.wait()
    grown = device.memory()["peak_bytes"]
    assert (grown is not None and grown >= 0) == STATUS.exists()


@pytest.mark.parametrize(
    ("device", "accelerator", "same"),
    [
        ("NVIDIA A100-SXM4-80GB, torch 2.13.0", "a100-sxm4-80gb", True),
        ("NVIDIA H100 80GB HBM3, torch 2.13.0", "h100-sxm", True),
        ("NVIDIA GeForce RTX 4090, torch 2.13.0", "rtx-4090", True),
        ("Tesla T4, torch 2.13.0", "t4", True),
        ("NVIDIA L40S, torch 2.13.0", "l4", False),
        ("NVIDIA H200, torch 2.13.0", "h100-sxm", False),
    ],
)
def test_a_device_is_told_from_another(device: str, accelerator: str, same: bool) -> None:
    assert looks_like(device, accelerator) is same
