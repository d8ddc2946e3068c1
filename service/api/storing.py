"""What a model's weights take as they are stored: by its file's header, or by its config.json."""

from __future__ import annotations

from collections.abc import Mapping

from service.api.request_models import HuggingFaceModel, ModelSpec, SafetensorsModel
from service.api.resolve.defaults import WHY
from service.api.resolve.ledger import Ledger
from service.core.architecture import safetensors
from service.core.architecture.network import Network
from service.core.stored_weights import bytes_by_format
from service.core.weight_formats import UnknownFormat

WEIGHTS = "bf16"


def by_format(spec: ModelSpec, network: Network, ledger: Ledger) -> Mapping[str, float] | None:
    """Stored bytes by number format; None, with a warning, where the format is not understood.

    A catalogued network or a list of layers says nothing of how it is stored.
    """
    if isinstance(spec, SafetensorsModel):
        return safetensors.bytes_by_dtype(network)
    if not isinstance(spec, HuggingFaceModel):
        return None
    try:
        return bytes_by_format(network)
    except UnknownFormat as error:
        ledger.warn("stored-format-unknown", f"{error}; its stored bytes are left out")
        return None


def weights_to_serve(network: Network, given: str | None, ledger: Ledger) -> str:
    """The weight format of a serving job: the one asked for, the model's own, or 16 bits."""
    own = network.quantization
    if own is not None and own.understood:
        return str(ledger.choose("/workload/weights", given, own.weight_format, WHY["own_weights"]))
    return str(ledger.choose("/workload/weights", given, WEIGHTS, WHY["weights"]))
