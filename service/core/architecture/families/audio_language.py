"""Language models that listen: Whisper's encoder, a projection and a decoder.

qwen2_audio (Chu et al. 2024, arXiv 2407.10759), voxtral (2507.13264).
Defaults are those of transformers 5.23.0.
"""

from __future__ import annotations

from service.core.architecture.families.config import Config
from service.core.architecture.families.image_projectors import two_linear
from service.core.architecture.families.multimodal import decoder, joined, part
from service.core.architecture.families.trunk import agree, read
from service.core.architecture.families.whisper import WHISPER, audio_tower
from service.core.architecture.network import Network
from service.core.architecture.operators import Linear
from service.core.architecture.polynomial import fixed
from service.core.architecture.tree import Block

VOXTRAL_TEXT = {
    "model_type": "llama",
    "vocab_size": 131072,
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "num_hidden_layers": 30,
    "num_key_value_heads": 8,
    "head_dim": 128,
}

LISTENER = WHISPER | {
    "num_mel_bins": 128,
    "encoder_layers": 32,
    "encoder_attention_heads": 20,
    "encoder_ffn_dim": 5120,
    "d_model": 1280,
}

LISTENER_NAMES = {
    "hidden_size": "d_model",
    "num_hidden_layers": "encoder_layers",
    "num_attention_heads": "encoder_attention_heads",
    "intermediate_size": "encoder_ffn_dim",
}


def voxtral(config: Config) -> Network:
    """VoxtralForConditionalGeneration: Whisper's encoder, four frames to a vector."""
    given = {**VOXTRAL_TEXT, **part(config, "text_config", VOXTRAL_TEXT)}
    text = decoder(config, given, False, "text_config")
    agree(config, "hidden_size", text.hidden_size)
    sound = read(config.section("audio_config"), LISTENER, LISTENER_NAMES)
    inputs = sound.integer("encoder_ffn_dim")
    frames = sound.integer("max_source_positions")
    heard = frames * sound.integer("d_model") / inputs
    products = two_linear(config, inputs, text.hidden_size, text.hidden_size, False)
    projector = Block("projector", products, stream=fixed(heard))
    return joined(config, (*audio_tower(sound), projector), text)


def qwen2_audio(config: Config) -> Network:
    """Qwen2AudioForConditionalGeneration: Whisper's encoder, two frames to a vector."""
    given = part(config, "text_config", {"model_type": "qwen2"})
    text = decoder(config, given, False, "text_config")
    sound = read(config.section("audio_config"), LISTENER)
    frames = sound.integer("max_source_positions")
    projection = Linear("linear", sound.integer("d_model"), text.hidden_size, True)
    projector = Block("projector", (projection,), stream=fixed(frames / 2))
    return joined(config, (*audio_tower(sound), projector), text)


FAMILIES = {
    "qwen2_audio": qwen2_audio,
    "voxtral": voxtral,
}
