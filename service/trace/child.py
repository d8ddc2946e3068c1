"""The child process of `trace`: reads a config.json, prints a layers document.

Parameters are exact: each parameter of the real class stands in the document once, and again as
an alias for every tie. Linear, embedding, convolution and norm modules keep their kind, what is
left becomes free parameters; attention is added from the config's head counts.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from torch import nn
from transformers import CONFIG_MAPPING, AutoModel
from transformers.models.auto import modeling_auto

Node = dict[str, Any]

_MAPPINGS = (
    "MODEL_FOR_CAUSAL_LM_MAPPING",
    "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING",
    "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING",
    "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING",
    "MODEL_FOR_MASKED_LM_MAPPING",
    "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING",
)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_LISTS = (nn.ModuleList, nn.Sequential)


class Tracer:
    """Walks the modules of one model."""

    def __init__(self, model: nn.Module, config: Any) -> None:
        self.model = model
        self.config = config
        self.seen: set[int] = set()
        self.embedding = _input_embedding(model)
        self.head = getattr(model, "get_output_embeddings", lambda: None)()

    def children(self, module: nn.Module, in_layer: bool) -> list[Node]:
        """The nodes of a module's own parameters and of its children, in order."""
        nodes = self.own(module)
        for name, child in module.named_children():
            node = self.node(name, child, in_layer)
            if node is not None:
                nodes.append(node)
        return nodes + self.attention(module)

    def own(self, module: nn.Module) -> list[Node]:
        """The parameters that the module holds itself."""
        held = module._parameters.items()
        return [self.free(name, value) for name, value in held if value is not None]

    def node(self, name: str, module: nn.Module, in_layer: bool) -> Node | None:
        """One module as a node; None where it holds nothing."""
        own = self.known(name, module)
        if own is not None:
            return own
        if isinstance(module, _LISTS):
            layers = self.own(module) + self.listed(name, module, in_layer)
        else:
            layers = self.children(module, in_layer)
        if not layers:
            return None
        return {"type": "block", "name": name, "layers": layers}

    def listed(self, name: str, module: nn.Module, in_layer: bool) -> list[Node]:
        """The members of a list, equal neighbours as one repeated block."""
        is_stack = isinstance(module, nn.ModuleList) and len(module) > 1 and not in_layer
        found: list[Node] = []
        for index, child in module.named_children():
            node = self.node(f"{name}_{index}", child, in_layer or is_stack)
            if node is None:
                continue
            if is_stack and node["type"] == "block":
                node["layer"] = True
            node["name"] = name
            last = found[-1] if found else None
            if last is not None and _without_repeat(last) == node:
                last["repeat"] = last.get("repeat", 1) + 1
            else:
                found.append(node)
        return found

    def known(self, name: str, module: nn.Module) -> Node | None:
        """Linear, embedding, convolution and norm modules, and fused experts."""
        kind = type(module).__name__
        weight = module._parameters.get("weight")
        if weight is None or any(True for _ in module.children()):
            return self.experts(name, module)
        if isinstance(module, nn.Linear) or kind == "Conv1D":
            return self.linear(name, module, weight, kind == "Conv1D")
        if isinstance(module, nn.Embedding):
            first = module is self.embedding
            tied = self.tied(weight)
            node: Node = {
                "type": "embedding",
                "name": name,
                "rows": weight.shape[0],
                "width": weight.shape[1],
            }
            return node | ({"input": True} if first else {}) | ({"tied": True} if tied else {})
        if isinstance(module, _CONVOLUTIONS) and not self.tied(weight, peek=True):
            return self.convolution(name, module, weight)
        return None

    def linear(self, name: str, module: nn.Module, weight: torch.Tensor, transposed: bool) -> Node:
        rows, columns = weight.shape if not transposed else reversed(weight.shape)
        node: Node = {"type": "linear", "name": name, "inputs": columns, "outputs": rows}
        bias = module._parameters.get("bias")
        node["bias"] = bias is not None and not self.tied(bias)
        if self.tied(weight):
            node["tied"] = True
        if module is self.head:
            node["head"] = True
        if transposed:
            node["transposed"] = True
        if bias is not None and not node["bias"]:
            return {
                "type": "block",
                "name": name,
                "layers": [
                    node,
                    {"type": "parameter", "name": "bias", "shape": list(bias.shape), "alias": True},
                ],
            }
        return node

    def convolution(self, name: str, module: Any, weight: torch.Tensor) -> Node:
        self.tied(weight)
        bias = module._parameters.get("bias")
        if bias is not None:
            self.tied(bias)
        stride = 1
        for step in module.stride:
            stride *= step
        return {
            "type": "convolution",
            "name": name,
            "inputs": module.in_channels,
            "outputs": module.out_channels,
            "kernel": list(module.kernel_size),
            "groups": module.groups,
            "bias": bias is not None,
            "input_positions": stride,
        }

    def experts(self, name: str, module: nn.Module) -> Node | None:
        """Experts whose weights are stacked in one tensor, or listed as equal modules."""
        count, active = _routing(self.config)
        if "experts" not in name.lower() or not count or not active:
            return None
        stacked = list(module.parameters(recurse=False))
        apart = len(list(module.parameters())) != len(stacked)
        if not stacked or apart or any(value.shape[:1] != (count,) for value in stacked):
            return None
        layers: list[Node] = []
        for own, value in module._parameters.items():
            if value is None:
                continue
            if self.tied(value):
                return None
            if value.dim() == 3:
                layers.append(
                    {
                        "type": "linear",
                        "name": own,
                        "inputs": value.shape[1],
                        "outputs": value.shape[2],
                        "bias": False,
                    }
                )
            else:
                layers.append(
                    {"type": "parameter", "name": own, "shape": list(value.shape[1:]) or [1]}
                )
        return {
            "type": "block",
            "name": name,
            "experts": {"count": count, "active": active},
            "layers": layers,
        }

    def attention(self, module: nn.Module) -> list[Node]:
        """The attention itself, where the module is one and the config tells its heads."""
        kind = type(module).__name__
        config = getattr(module, "config", None) or self.config
        heads, hidden = _whole(config, "num_attention_heads"), _whole(config, "hidden_size")
        direct = {name for name, child in module.named_children() if isinstance(child, nn.Linear)}
        if not kind.endswith("Attention") or not direct or not heads or not hidden:
            return []
        dim = _whole(config, "head_dim") or hidden // heads
        groups = _whole(config, "num_key_value_heads") or heads
        causal = bool(getattr(module, "is_causal", False))
        return [
            {
                "type": "attention",
                "name": "attention",
                "heads": heads,
                "key_value_heads": groups,
                "key_dim": dim,
                "value_dim": dim,
                "causal": causal,
            }
        ]

    def free(self, name: str, value: torch.Tensor) -> Node:
        node: Node = {"type": "parameter", "name": name, "shape": list(value.shape) or [1]}
        return node | ({"alias": True} if self.tied(value) else {})

    def tied(self, value: torch.Tensor, peek: bool = False) -> bool:
        """Whether the tensor has been counted before; counts it."""
        known = id(value) in self.seen
        if not peek:
            self.seen.add(id(value))
        return known


def _without_repeat(node: Node) -> Node:
    return {key: value for key, value in node.items() if key != "repeat"}


def _input_embedding(model: nn.Module) -> Any:
    try:
        return model.get_input_embeddings()  # type: ignore[operator, unused-ignore]
    except (AttributeError, NotImplementedError):
        return None


def _routing(config: Any) -> tuple[int, int]:
    config = getattr(config, "text_config", None) or config
    counts = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
    actives = ("num_experts_per_tok", "num_experts_per_token", "moe_k", "moe_topk", "top_k_experts")
    found = [next((v for n in names if (v := _whole(config, n))), 0) for names in (counts, actives)]
    return found[0], found[1]


def _whole(config: Any, name: str) -> int:
    """A whole number of the config; 0 where it has none, or one for each layer."""
    try:
        value = getattr(config, name, 0)
    except Exception:
        return 0
    return value if isinstance(value, int) else 0


def read(given: dict[str, Any]) -> Any:
    """The configuration as transformers reads it from a file."""
    kind = given.get("model_type")
    if kind not in CONFIG_MAPPING:
        sys.exit(f"transformers {transformers.__version__} has no model_type {kind!r}")
    return CONFIG_MAPPING[kind].from_dict(given)


def model_class(config: Any) -> Any:
    """The class that `architectures` names, or the usual one of the model type."""
    for name in getattr(config, "architectures", None) or ():
        found = getattr(transformers, name, None)
        if found is not None:
            return found
    for name in sorted(_MAPPINGS, key=lambda name: _suits(name, config)):
        mapping = getattr(modeling_auto, name)
        if type(config) in mapping:
            return mapping[type(config)]
    return None


def _suits(mapping: str, config: Any) -> int:
    """0 for the mapping that comes first: what the flags of the config say it is."""
    if getattr(config, "is_encoder_decoder", False):
        return 0 if "SEQ_2_SEQ" in mapping or "SEQ_TO_SEQ" in mapping else 1
    return 0 if "MASKED_LM" in mapping and not getattr(config, "is_decoder", False) else 1


def _tokens(nodes: list[Node]) -> Iterator[Node]:
    for node in nodes:
        yield node
        yield from _tokens(node.get("layers", []))


def document(given: dict[str, Any]) -> Node:
    """The layers document of a config.json, with notes and the number of parameters."""
    config = read(given)
    with torch.device("meta"):
        found = model_class(config)
        model = found(config) if found is not None else AutoModel.from_config(config)
    model.tie_weights()
    layers = Tracer(model, config).children(model, in_layer=False)
    notes = ["activations between modules are not traced: memory of activations is a lower bound"]
    if not any(node.get("type") == "attention" for node in _tokens(layers)):
        notes.append("no attention was recognised: FLOPs and caches leave it out")
    total = sum(value.numel() for value in model.parameters())
    return {"kind": "layers", "layers": layers, "notes": notes, "parameters": total}


def main() -> None:
    """Read a config.json from standard input, print the document on standard output."""
    json.dump(document(json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main()
