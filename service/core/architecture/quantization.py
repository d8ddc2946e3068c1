"""What a config.json's `quantization_config` says of the stored weights.

Parameters stay logical: a 4-bit weight is one parameter. Understood: fp8 (a scale a tensor, or one
a 128 x 128 block: DeepSeek-V3), GPTQ (arXiv 2210.17323), AWQ (2306.00978), bitsandbytes (LLM.int8,
2208.07339; NF4, 2305.14314) and MXFP4 (gpt-oss: the experts alone). How many bytes a format takes
is `service.core.weight_formats`'s to say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.core.architecture.families.config import Config

_BLOCK = [128, 128]
_GROUPS = (32, 64, 128, 256)
_NEVER = re.compile(r"embed|norm|bias|lm_head|conv1d|wte|wpe")
_PARTS: Mapping[str, re.Pattern[str]] = {
    "router": re.compile(r"(^|\.)(gate|router|shared_expert_gate)(\.|$)"),
    "attention": re.compile(r"self_attn$|attention$|attn$"),
    "tower": re.compile(r"visual|vision|audio|projector|merger"),
}
"""Parts of a network by the endings of the module names that leave them unquantised."""


@dataclass(frozen=True)
class Quantization:
    """How the weights are stored."""

    method: str
    """The `quant_method` of the file."""
    weight_format: str | None
    """The name in `weight_formats`; None where the method is not understood."""
    kept: frozenset[str] = frozenset()
    """Parts that stay at the file's own format: `router`, `attention`, `tower`."""
    experts_only: bool = False
    unmapped: tuple[str, ...] = ()
    """Names of modules left unquantised that no part of a described network answers to."""

    @property
    def understood(self) -> bool:
        """Whether the stored bytes can be told exactly."""
        return self.weight_format is not None and not self.unmapped


def read(data: Mapping[str, Any]) -> Quantization | None:
    """The quantisation of a config.json; None where the weights are stored as they are.

    Raises ConfigError for a section that is malformed.
    """
    if data.get("quantization_config") is None:
        return None
    section = Config(data).section("quantization_config")
    method = section.text("quant_method") or _older(section)
    kept, unmapped = _kept(section)
    return Quantization(
        method,
        _format(section, method),
        kept | {"router"},
        experts_only=method == "mxfp4",
        unmapped=unmapped,
    )


def _older(section: Config) -> str:
    """Files written before `quant_method` existed."""
    loads = ("load_in_4bit", "load_in_8bit")
    return "bitsandbytes" if any(section.flag(name) for name in loads) else ""


def _format(section: Config, method: str) -> str | None:
    if method == "fp8":
        block = section.get("weight_block_size")
        if block is None:
            return "fp8"
        return "fp8-block" if list(section.sequence("weight_block_size")) == _BLOCK else None
    if method in ("gptq", "awq"):
        bits = section.integer("bits", 1, 32)
        group = section.integer("group_size", -1)
        known = bits in (2, 3, 4, 8) and group in _GROUPS and not section.flag("lm_head")
        return f"{method}-int{bits}-g{group}" if known else None
    if method == "bitsandbytes":
        return _bitsandbytes(section)
    return "mxfp4" if method == "mxfp4" else None


def _bitsandbytes(section: Config) -> str | None:
    if section.flag("load_in_8bit"):
        return "int8"
    kind = section.text("bnb_4bit_quant_type", "fp4")
    if not section.flag("load_in_4bit") or kind not in ("nf4", "fp4"):
        return None
    return "nf4-double" if section.flag("bnb_4bit_use_double_quant") else "nf4"


def _kept(section: Config) -> tuple[frozenset[str], tuple[str, ...]]:
    """Parts that stay wide, and the names that stand for none that we know."""
    parts: set[str] = set()
    unmapped: list[str] = []
    for field in ("modules_to_not_convert", "llm_int8_skip_modules", "ignored_layers"):
        for item in section.sequence(field, 100_000):
            name = item if isinstance(item, str) else ""
            found = {part for part, pattern in _PARTS.items() if pattern.search(name)}
            parts |= found
            if not found and not _NEVER.search(name):
                unmapped.append(name[:80])
    return frozenset(parts), tuple(unmapped[:16])
