"""CPU seconds of accelerate's memory estimator for a model's config, as its command does it.

Runs by itself in the environment where that package is installed; prints one JSON object.
"""

import json
import time

from accelerate import init_empty_weights
from accelerate.utils import calculate_maximum_sizes
from transformers import AutoModelForCausalLM, LlamaConfig

CONFIG = LlamaConfig(
    hidden_size=4096,
    intermediate_size=14336,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=8,
    vocab_size=128256,
)


def estimated() -> None:
    """The sizes that `accelerate estimate-memory` prints."""
    with init_empty_weights():
        model = AutoModelForCausalLM.from_config(CONFIG)
    calculate_maximum_sizes(model)


estimated()
begun = time.process_time()
for _ in range(3):
    estimated()
print(json.dumps({"estimate": (time.process_time() - begun) / 3}))
