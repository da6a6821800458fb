"""The largest group that an architecture is known to have, by a formula from its sizes.

Nothing here looks at a converter: what is counted are neurons, heads and experts as the architecture's paper draws
them.  Where no formula is known, a name is missing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any


def wreath(*sizes: int) -> float:
    """log10 of the order of S_a wr S_b wr …: for every element of b a permutation of a's own.

    >>> round(10 ** wreath(3, 2))
    72
    """
    found = 0.0
    for size in sizes:
        found = found * size + math.lgamma(size + 1) / math.log(10)
    return found


def sets(*sizes: int) -> float:
    """log10 of the order of a product of symmetric groups."""
    return sum(wreath(size) for size in sizes)


def attention(heads: int, inside: int, key_heads: int = 0, rotary: bool = False, value: int = 0) -> float:
    """Heads change places, in groups where they share keys; so do dimensions of queries and keys where nothing turns
    them, and those of values, in each head on its own.

    Args:
        heads: Of queries.
        inside: Dimensions of queries and keys in a head.
        key_heads: Of keys and values; as many where 0.
        rotary: Whether positions turn the dimensions of queries and keys.
        value: Dimensions of values in a head; as many where 0.
    """
    groups = key_heads or heads
    shared = wreath(heads // groups, groups)
    return shared + groups * (wreath(value or inside) + (0.0 if rotary else wreath(inside)))


def experts(count: int, neurons: int) -> float:
    """Experts change places, and neurons inside each of them."""
    return wreath(neurons, count)


def _encoder(c: Any, more: float = 0.0) -> float:
    one = attention(c.num_attention_heads, c.hidden_size // c.num_attention_heads) + wreath(c.intermediate_size)
    return wreath(c.hidden_size) + c.num_hidden_layers * one + more


def _decoder(c: Any, inside: float) -> float:
    """Layers of grouped, rotary attention, and what is inside the MLP of each."""
    dimensions = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    one = attention(c.num_attention_heads, dimensions, c.num_key_value_heads, rotary=True) + inside
    return wreath(c.hidden_size) + c.num_hidden_layers * one


def _llama(c: Any) -> float:
    return _decoder(c, wreath(c.intermediate_size))


def _mixtral(c: Any) -> float:
    return _decoder(c, experts(c.num_local_experts, c.intermediate_size))


def _two_stacks(width: int, heads: int, inside: int, neurons: int) -> float:
    """An encoder's layer, and a decoder's, which also reads the encoder."""
    return wreath(width) + 3 * attention(heads, inside) + 2 * wreath(neurons)


MODULES: dict[str, float] = {
    "MLP": sets(16, 12),
    "SIREN": sets(16, 16),
    "CNN + flatten": sets(6, 8, 10),
    "VGG": sets(6, 6, 8, 8, 10),
    "ResNet, option B": sets(4, 8, 12) + sets(4, 8, 8, 12),
    "DenseNet": sets(6, 4, 4, 4),
    "U-Net": sets(6, 8, 10, 8, 8, 6),
    "VAE": sets(12, 3, 12),
    "MLP-Mixer": sets(8, 10, 12),
    "LSTM": sets(8, 10),
    "GRU": sets(8, 10),
    "nn.MultiheadAttention": wreath(12) + attention(3, 4),
    "nn.TransformerEncoder": wreath(12) + 2 * (attention(3, 4) + wreath(16)),
    "ViT": wreath(12) + attention(3, 4) + wreath(20),
    "heads told apart by slopes": 3 * 2 * wreath(4),
    "experts in one tensor": sets(8, 8) + experts(4, 10),
    "experts in a list": wreath(6) + experts(4, 5),
    "experts in a loop": sets(8, 8) + 4 * wreath(10),
}
"""log10 of the order of the largest known group of `tests.converters.architectures`."""
MODELS: dict[str, Callable[[Any], float]] = {
    "BERT": lambda c: _encoder(c, wreath(c.hidden_size)),
    "RoBERTa": lambda c: _encoder(c, wreath(c.hidden_size)),
    "DistilBERT": lambda c: 2 * wreath(c.dim)
    + c.n_layers * (attention(c.n_heads, c.dim // c.n_heads) + wreath(c.hidden_dim)),
    "GPT-2": lambda c: wreath(c.n_embd)
    + c.n_layer * (attention(c.n_head, c.n_embd // c.n_head) + wreath(4 * c.n_embd)),
    "OPT": lambda c: wreath(c.hidden_size)
    + c.num_hidden_layers * (attention(c.num_attention_heads, c.hidden_size // c.num_attention_heads)
    + wreath(c.ffn_dim)),
    "Llama, grouped queries": _llama,
    "Mistral": _llama,
    "Qwen2": _llama,
    "Gemma 2": _llama,
    "Phi-3": _llama,
    "Mixtral": _mixtral,
    "GPT-OSS": _mixtral,
    "GraniteMoE": _mixtral,
    "OLMoE": lambda c: _decoder(c, experts(c.num_experts, c.intermediate_size)),
    "Qwen3-MoE": lambda c: _decoder(c, experts(c.num_experts, c.moe_intermediate_size)),
    "Qwen2-MoE": lambda c: _decoder(
        c, experts(c.num_experts, c.moe_intermediate_size) + wreath(c.shared_expert_intermediate_size)
    ),
    "T5": lambda c: _two_stacks(c.d_model, c.num_heads, c.d_kv, c.d_ff),
    "BART": lambda c: _two_stacks(
        c.d_model, c.encoder_attention_heads, c.d_model // c.encoder_attention_heads, c.encoder_ffn_dim
    ),
    "ViT": _encoder,
    "DeiT": _encoder,
    "DINOv2": lambda c: wreath(c.hidden_size)
    + c.num_hidden_layers * (attention(c.num_attention_heads, c.hidden_size // c.num_attention_heads)
    + wreath(c.mlp_ratio * c.hidden_size)),
}  # fmt: skip
"""The same for `tests.converters.hugging_face`, from a model's configuration."""
