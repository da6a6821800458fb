"""Tiny models of Hugging Face with random weights, and the group that each must get."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Built = tuple[Any, dict[str, Any], str]
"""A model, its inputs by name, and an output that counts by default."""

_BASE: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 20,
    "vocab_size": 31,
    "max_position_embeddings": 32,
}
_GROUPED = {**_BASE, "num_key_value_heads": 2, "pad_token_id": 0}
_PICTURES: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "image_size": 16,
    "patch_size": 8,
}


def _tokens(count: int = 6) -> torch.Tensor:
    return torch.randint(3, 31, (2, count), generator=torch.Generator().manual_seed(0))


def _normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _language(model: str, config: str, **options: Any) -> Callable[[], Built]:
    def build() -> Built:
        import transformers

        made = getattr(transformers, model)(getattr(transformers, config)(**options))
        return made, {"input_ids": _tokens()}, "logits"

    return build


def _sequences(model: str, config: str, **options: Any) -> Callable[[], Built]:
    def build() -> Built:
        import transformers

        made = getattr(transformers, model)(getattr(transformers, config)(**options))
        return made, {"input_ids": _tokens(), "decoder_input_ids": _tokens(4)}, "logits"

    return build


def _pictures(model: str, config: str, size: int = 16, **options: Any) -> Callable[[], Built]:
    def build() -> Built:
        import transformers

        made = getattr(transformers, model)(getattr(transformers, config)(**options))
        return made, {"pixel_values": _normal(2, 3, size, size)}, "logits"

    return build


def _wav2vec2() -> Built:
    import transformers

    config = transformers.Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=4, intermediate_size=20, vocab_size=12,
        conv_dim=(8, 8), conv_kernel=(10, 3), conv_stride=(5, 2), num_feat_extract_layers=2,
        num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=4,
    )  # fmt: skip
    return transformers.Wav2Vec2ForCTC(config), {"input_values": _normal(2, 300)}, "logits"


def _whisper() -> Built:
    import transformers

    config = transformers.WhisperConfig(
        d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=4, decoder_attention_heads=4,
        encoder_ffn_dim=20, decoder_ffn_dim=20, vocab_size=31, max_source_positions=10, max_target_positions=12,
        num_mel_bins=6, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
        suppress_tokens=None, begin_suppress_tokens=None,
    )  # fmt: skip
    inputs = {"input_features": _normal(2, 6, 20), "decoder_input_ids": _tokens(4)}
    return transformers.WhisperForConditionalGeneration(config), inputs, "logits"


def _clip() -> Built:
    import transformers

    text = {**_BASE, "max_position_embeddings": 8, "projection_dim": 12, "eos_token_id": 30}
    config = transformers.CLIPConfig(
        text_config=text, vision_config={**_PICTURES, "intermediate_size": 20, "projection_dim": 12}, projection_dim=12
    )
    inputs = {"input_ids": _tokens(), "pixel_values": _normal(2, 3, 16, 16)}
    return transformers.CLIPModel(config), inputs, "logits_per_image"


MODELS: dict[str, Callable[[], Built]] = {
    "BERT": _language("BertForSequenceClassification", "BertConfig", **_BASE),
    "DistilBERT": _language(
        "DistilBertForSequenceClassification",
        "DistilBertConfig",
        dim=16,
        n_layers=1,
        n_heads=4,
        hidden_dim=20,
        vocab_size=31,
    ),
    "RoBERTa": _language("RobertaForSequenceClassification", "RobertaConfig", **_BASE),
    "DeBERTa": _language(
        "DebertaV2ForSequenceClassification",
        "DebertaV2Config",
        **_BASE,
        relative_attention=True,
        pos_att_type=["p2c", "c2p"],
        position_buckets=4,
    ),
    "ALBERT, shared layers": _language(
        "AlbertForMaskedLM", "AlbertConfig", **{**_BASE, "num_hidden_layers": 2}, embedding_size=8
    ),
    "GPT-2": _language("GPT2LMHeadModel", "GPT2Config", n_embd=16, n_layer=2, n_head=4, vocab_size=31, n_positions=32),
    "GPT-NeoX": _language("GPTNeoXForCausalLM", "GPTNeoXConfig", **_BASE),
    "BLOOM": _language("BloomForCausalLM", "BloomConfig", hidden_size=16, n_layer=1, n_head=4, vocab_size=31),
    "OPT": _language(
        "OPTForCausalLM",
        "OPTConfig",
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=4,
        ffn_dim=20,
        vocab_size=31,
        max_position_embeddings=32,
        word_embed_proj_dim=16,
    ),
    "Llama, grouped queries": _language("LlamaForCausalLM", "LlamaConfig", **_GROUPED),
    "Mistral": _language("MistralForCausalLM", "MistralConfig", **_GROUPED, sliding_window=4),
    "Qwen2": _language("Qwen2ForCausalLM", "Qwen2Config", **_GROUPED),
    "Gemma 2": _language("Gemma2ForCausalLM", "Gemma2Config", **_GROUPED, head_dim=4),
    "Phi-3": _language("Phi3ForCausalLM", "Phi3Config", **_GROUPED),
    "Mixtral": _language("MixtralForCausalLM", "MixtralConfig", **_GROUPED, num_local_experts=4),
    "Qwen3-MoE": _language(
        "Qwen3MoeForCausalLM",
        "Qwen3MoeConfig",
        **_GROUPED,
        head_dim=4,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=10,
    ),
    "OLMoE": _language("OlmoeForCausalLM", "OlmoeConfig", **_GROUPED, num_experts=4, num_experts_per_tok=2),
    "GraniteMoE": _language(
        "GraniteMoeForCausalLM", "GraniteMoeConfig", **_GROUPED, num_local_experts=4, num_experts_per_tok=2
    ),
    "GPT-OSS": _language(
        "GptOssForCausalLM", "GptOssConfig", **_GROUPED, head_dim=4, num_local_experts=4, num_experts_per_tok=2
    ),
    "PhiMoE": _language("PhimoeForCausalLM", "PhimoeConfig", **_GROUPED, num_local_experts=4, num_experts_per_tok=2),
    "Qwen2-MoE": _language(
        "Qwen2MoeForCausalLM",
        "Qwen2MoeConfig",
        **_GROUPED,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=10,
        shared_expert_intermediate_size=12,
    ),
    "DeepSeek-V3": _language(
        "DeepseekV3ForCausalLM",
        "DeepseekV3Config",
        **{**_GROUPED, "num_key_value_heads": 4, "num_hidden_layers": 2},
        q_lora_rank=6,
        kv_lora_rank=8,
        qk_nope_head_dim=4,
        qk_rope_head_dim=2,
        v_head_dim=4,
        n_routed_experts=4,
        num_experts_per_tok=2,
        n_group=2,
        topk_group=1,
        moe_intermediate_size=10,
        first_k_dense_replace=1,
    ),
    "Mamba": _language(
        "MambaForCausalLM", "MambaConfig", hidden_size=16, num_hidden_layers=1, vocab_size=31, state_size=4
    ),
    "T5": _sequences(
        "T5ForConditionalGeneration",
        "T5Config",
        d_model=16,
        d_kv=4,
        d_ff=20,
        num_layers=1,
        num_heads=4,
        vocab_size=31,
    ),
    "BART": _sequences(
        "BartForConditionalGeneration",
        "BartConfig",
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=20,
        decoder_ffn_dim=20,
        vocab_size=31,
        max_position_embeddings=32,
    ),
    "ViT": _pictures("ViTForImageClassification", "ViTConfig", **_PICTURES, intermediate_size=20),
    "DeiT": _pictures("DeiTForImageClassification", "DeiTConfig", **_PICTURES, intermediate_size=20),
    "DINOv2": _pictures("Dinov2ForImageClassification", "Dinov2Config", **_PICTURES),
    "Swin": _pictures(
        "SwinForImageClassification",
        "SwinConfig",
        image_size=16,
        patch_size=2,
        embed_dim=8,
        depths=[2, 1],
        num_heads=[2, 4],
        window_size=4,
    ),
    "ConvNeXt": _pictures(
        "ConvNextForImageClassification",
        "ConvNextConfig",
        32,
        hidden_sizes=[4, 6, 8, 10],
        depths=[1, 1, 1, 1],
    ),
    "Wav2Vec2": _wav2vec2,
    "Whisper": _whisper,
    "CLIP": _clip,
}

GROUPS: dict[str, str] = {
    "BERT": "S_16 · S_4 · S_4 wr S_4 · S_4 wr S_4 · S_20 · S_16",
    "DistilBERT": "S_16 · S_4 · S_4 wr S_4 · S_4 wr S_4 · S_20 · S_16",
    "RoBERTa": "S_16 · S_4 · S_4 wr S_4 · S_4 wr S_4 · S_20 · S_16",
    "DeBERTa": "S_16 · S_4 · S_4 wr S_4 · S_4 wr S_4 · S_16 · S_20 · S_16",
    "ALBERT, shared layers": "S_8 · S_16 · S_4 · S_4 wr S_4 · S_4 wr S_4 · S_20",
    "GPT-2": "S_16 · S_4 · S_4 wr S_4 · S_4 wr S_4 · S_64 · S_4 · S_4 wr S_4 · S_4 wr S_4 · S_64",
    "GPT-NeoX": "S_16 · S_4 · S_2 wr S_4 · S_4 wr S_4 · S_20",
    "BLOOM": " · ".join(["S_16", *["S_4"] * 8, "S_64"]),
    "OPT": "S_16 · S_4 · S_4 wr S_4 · S_4 wr S_4 · S_20",
    "Llama, grouped queries": "S_16 · S_2 · S_2 wr S_2 · S_4 wr S_2 · S_20",
    "Mistral": "S_16 · S_2 · S_2 wr S_2 · S_4 wr S_2 · S_20",
    "Qwen2": "S_16 · S_2 · S_2 wr S_2 · S_4 wr S_2 · S_20",
    "Gemma 2": "S_16 · S_2 · S_2 wr S_2 · S_4 wr S_2 · S_20",
    "Phi-3": "S_16 · S_2 · S_2 wr S_2 · S_4 wr S_2 · S_20",
    "Mixtral": "S_16 · S_2 · S_2 wr S_2 · S_4 wr S_2 · S_4 · S_20 wr S_4",
    "Qwen3-MoE": "S_16 · S_2 · S_2 wr S_2 · S_4 wr S_2 · S_4 · S_10 wr S_4",
    "OLMoE": "S_16 · S_2 · S_2 wr S_2 · S_4 wr S_2 · S_4 · S_20 wr S_4",
    "GraniteMoE": "S_16 · S_2 · S_2 wr S_2 · S_4 wr S_2 · S_4 · S_20 wr S_4",
    "GPT-OSS": "S_16 · S_2 · S_2 wr S_2 · S_4 wr S_2 · S_4 · S_20 wr S_4",
    "PhiMoE": "S_16 · S_2 · S_2 wr S_2 · S_4 wr S_2 · S_4 · S_20 wr S_4",
    "Qwen2-MoE": "S_16 · S_2 · S_2 wr S_2 · S_4 wr S_2 · S_4 · S_10 wr S_4 · S_12",
    "DeepSeek-V3": "S_16 · S_6 · S_4 · S_4 wr S_4 · S_8 · S_4 wr S_4 · S_20 · S_6 · "
    "S_4 · S_4 wr S_4 · S_8 · S_4 wr S_4 · S_2 · S_2 wr S_2 · S_10 wr S_2 wr S_2 · S_10",
    "Mamba": "S_16 · S_32 · S_4",
    "T5": "S_16 · S_4 · S_4 wr S_4 · S_4 wr S_4 · S_20 · S_4 · "
    "S_4 wr S_4 · S_4 wr S_4 · S_4 · S_4 wr S_4 · S_4 wr S_4 · S_20",
    "BART": "S_16 · S_4 · S_4 wr S_4 · S_4 wr S_4 · S_20 · S_4 · "
    "S_4 wr S_4 · S_4 wr S_4 · S_4 · S_4 wr S_4 · S_4 wr S_4 · S_20",
    "ViT": "S_16 · S_4 · S_4 wr S_4 · S_4 wr S_4 · S_20",
    "DeiT": "S_16 · S_4 · S_4 wr S_4 · S_4 wr S_4 · S_20",
    "DINOv2": "S_16 · S_4 · S_4 wr S_4 · S_4 wr S_4 · S_64",
    "Swin": "S_8 · S_2 · S_4 wr S_2 · S_4 wr S_2 · S_32 · S_2 · S_4 wr S_2 · "
    "S_4 wr S_2 · S_32 · S_16 · S_4 · S_4 wr S_4 · S_4 wr S_4 · S_64",
    "ConvNeXt": "S_4 · S_16 · S_6 · S_24 · S_8 · S_32 · S_10 · S_40",
    "Wav2Vec2": "S_8 · S_8 · S_4 · S_4 · S_4 · S_4 wr S_4 · S_4 wr S_4 · S_20",
    "Whisper": "S_16 · S_16 · S_4 · S_4 wr S_4 · S_4 wr S_4 · S_20 · S_16 · "
    "S_4 · S_4 wr S_4 · S_4 wr S_4 · S_4 · S_4 wr S_4 · S_4 wr S_4 · S_20",
    "CLIP": "S_16 · S_4 · S_4 wr S_4 · S_4 wr S_4 · S_20 · S_16 · S_4 · S_4 wr S_4 · S_4 wr S_4 · S_20 · S_12",
}


def build(name: str) -> Built:
    """A model in eval mode with repeatable weights, its inputs, and an output that counts by default."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, inputs, output = MODELS[name]()
        return model.eval(), inputs, output
