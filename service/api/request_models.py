"""How a request describes the model: five kinds, told apart by `kind`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from service.api.bounded import ApiModel, Name, ParameterCount

_TINY_LLAMA: JsonDict = {
    "model_type": "llama",
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "tie_word_embeddings": True,
    "max_position_embeddings": 131072,
}


class CatalogModel(ApiModel):
    """A reference model of the catalog, by name or alias."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"kind": "catalog", "name": "gpt2"}]})

    kind: Literal["catalog"]
    name: Name


class HuggingFaceModel(ApiModel):
    """A config.json as it stands in a repository of transformers models."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"kind": "huggingface", "config": _TINY_LLAMA}]}
    )

    kind: Literal["huggingface"]
    config: dict[str, Any] = Field(description="The whole file; `model_type` names the family.")


class LayersModel(ApiModel):
    """A hand-written list of layers: enough for an MLP or a CNN."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "layers",
                    "layers": [{"type": "linear", "inputs": 1000, "outputs": 1000, "repeat": 3}],
                }
            ]
        }
    )

    kind: Literal["layers"]
    layers: list[dict[str, Any]] = Field(min_length=1, max_length=1_500)


class SafetensorsModel(ApiModel):
    """Tensor names and shapes: exact counts for any architecture, and what follows from them."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "safetensors",
                    "header": {
                        "fc.weight": {
                            "dtype": "BF16",
                            "shape": [1000, 1000],
                            "data_offsets": [0, 2000000],
                        }
                    },
                }
            ]
        }
    )

    kind: Literal["safetensors"]
    header: dict[str, Any] | list[dict[str, Any]] = Field(
        description="The JSON header of one file, a list of headers, or an index whose entries "
        "carry their shapes."
    )


class SizeModel(ApiModel):
    """Only a number of parameters: everything that can be said from a size alone."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"kind": "size", "parameters": 7000000000}]}
    )

    kind: Literal["size"]
    parameters: ParameterCount
    active_parameters: ParameterCount | None = Field(
        None, description="Parameters that work on one token (mixture of experts); default: all."
    )


ModelSpec = Annotated[
    CatalogModel | HuggingFaceModel | LayersModel | SafetensorsModel | SizeModel,
    Field(discriminator="kind"),
]
