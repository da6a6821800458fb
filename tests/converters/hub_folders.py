"""Tiny models of many families of Hugging Face, each to be saved in a folder and converted from the folder alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

Sizes = dict[str, Any]

TEXT: Sizes = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 20, "vocab_size": 41,
    "max_position_embeddings": 32,
}  # fmt: skip
GROUPED: Sizes = {**TEXT, "num_key_value_heads": 1, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
PAIR: Sizes = {
    "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 20, "decoder_ffn_dim": 20, "vocab_size": 41, "max_position_embeddings": 32, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1,
}  # fmt: skip
T5: Sizes = {
    "d_model": 16, "d_kv": 8, "d_ff": 20, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 2, "vocab_size": 41,
}  # fmt: skip
VISION: Sizes = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 20, "image_size": 16,
    "patch_size": 8,
}  # fmt: skip
WAVES: Sizes = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 20, "vocab_size": 12,
    "conv_dim": [8, 8], "conv_kernel": [10, 3], "conv_stride": [5, 2], "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip
SERIES: Sizes = {
    "prediction_length": 4, "context_length": 8, "lags_sequence": [1, 2], "d_model": 16, "encoder_layers": 1,
    "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 20,
    "decoder_ffn_dim": 20, "num_time_features": 2,
}  # fmt: skip
SEEN: Sizes = {**VISION, "projection_dim": 12}
READ: Sizes = {**TEXT, "max_position_embeddings": 16, "projection_dim": 12, "eos_token_id": 2, "pad_token_id": 0}


@dataclass(frozen=True)
class Family:
    """A class of transformers, its config, and the inputs that must be made up for it."""

    model: str
    config: str
    sizes: Sizes
    inputs: str = "input_ids"

    def build(self) -> Any:
        """The model in eval mode, with repeatable weights."""
        import transformers

        with torch.random.fork_rng():
            torch.manual_seed(0)
            config = getattr(transformers, self.config)(**self.sizes)
            return getattr(transformers, self.model)(config).eval()

    def save(self, folder: Path) -> Any:
        """The model, saved as the library saves it."""
        model = self.build()
        model.save_pretrained(folder)
        return model


def _of(name: str, head: str, sizes: Sizes, inputs: str = "input_ids", **more: Any) -> Family:
    return Family(f"{name}{head}", f"{name}Config", {**sizes, **more}, inputs)


_BOTH = "input_ids pixel_values"
_IN_OUT = "input_ids decoder_input_ids"
FAMILIES: tuple[Family, ...] = (
    _of("BigBird", "ForMaskedLM", TEXT),
    _of("BioGpt", "ForCausalLM", TEXT),
    _of("Camembert", "ForTokenClassification", TEXT),
    _of("Canine", "ForSequenceClassification", TEXT, num_hash_buckets=64, downsampling_rate=2,
        local_transformer_stride=8),
    _of("Cohere", "ForCausalLM", GROUPED),
    _of("ConvBert", "ForMaskedLM", TEXT, embedding_size=16, head_ratio=1),
    _of("Electra", "ForPreTraining", TEXT, embedding_size=16),
    _of("Ernie", "ForMaskedLM", TEXT),
    _of("FNet", "Model", TEXT),
    _of("Gemma", "ForCausalLM", GROUPED, head_dim=8),
    _of("GPTBigCode", "ForCausalLM", {}, n_embd=16, n_layer=1, n_head=2, vocab_size=41, n_positions=32),
    _of("Granite", "ForCausalLM", GROUPED),
    _of("IBert", "ForMaskedLM", TEXT),
    _of("Longformer", "ForMaskedLM", TEXT, attention_window=[4]),
    _of("MobileBert", "ForMaskedLM", TEXT, embedding_size=16, true_hidden_size=16, intra_bottleneck_size=16),
    _of("LayoutLM", "ForTokenClassification", TEXT, max_2d_position_embeddings=64),
    _of("Lxmert", "Model", {}, "input_ids visual_feats visual_pos", hidden_size=16, num_attention_heads=2, l_layers=1,
        x_layers=1, r_layers=1, intermediate_size=20, vocab_size=41, max_position_embeddings=32, visual_feat_dim=10),
    _of("Mamba2", "ForCausalLM", {}, vocab_size=41, hidden_size=16, num_hidden_layers=1, num_heads=4, head_dim=8,
        state_size=4, n_groups=1, expand=2, chunk_size=4),
    _of("Bamba", "ForCausalLM", GROUPED, mamba_n_heads=4, mamba_d_head=8, mamba_d_state=4, mamba_n_groups=1,
        mamba_expand=2, mamba_chunk_size=4, attn_layer_indices=[]),
    _of("MegatronBert", "ForCausalLM", TEXT, is_decoder=True),
    _of("MPNet", "ForSequenceClassification", TEXT),
    _of("Nystromformer", "ForMaskedLM", TEXT, segment_means_seq_len=12, num_landmarks=4),
    _of("Olmo2", "ForCausalLM", GROUPED),
    _of("Persimmon", "ForCausalLM", TEXT),
    _of("RemBert", "ForMaskedLM", TEXT, input_embedding_size=12, output_embedding_size=10),
    _of("RoFormer", "ForMaskedLM", TEXT, embedding_size=16),
    _of("SqueezeBert", "ForMaskedLM", TEXT, embedding_size=16, q_groups=2, k_groups=2, v_groups=2,
        post_attention_groups=1, intermediate_groups=2, output_groups=2),
    _of("StableLm", "ForCausalLM", GROUPED),
    _of("Starcoder2", "ForCausalLM", GROUPED),
    _of("VisualBert", "ForPreTraining", TEXT, "input_ids visual_embeds", visual_embedding_dim=10),
    _of("XGLM", "ForCausalLM", {}, vocab_size=41, max_position_embeddings=32, d_model=16, ffn_dim=20, num_layers=1,
        attention_heads=2),
    _of("XLMRobertaXL", "ForMaskedLM", TEXT),
    Family("MusicgenForCausalLM", "MusicgenDecoderConfig", {"vocab_size": 41, "hidden_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "ffn_dim": 20, "num_codebooks": 2, "max_position_embeddings": 32}),
    _of("BlenderbotSmall", "ForConditionalGeneration", PAIR, _IN_OUT),
    _of("LED", "ForConditionalGeneration", PAIR, _IN_OUT, max_encoder_position_embeddings=32,
        max_decoder_position_embeddings=32, attention_window=4),
    _of("M2M100", "ForConditionalGeneration", PAIR, _IN_OUT),
    _of("Marian", "MTModel", PAIR, _IN_OUT),
    _of("MBart", "ForConditionalGeneration", PAIR, _IN_OUT),
    _of("Pegasus", "ForConditionalGeneration", PAIR, _IN_OUT),
    _of("MT5", "ForConditionalGeneration", T5, _IN_OUT),
    _of("SwitchTransformers", "ForConditionalGeneration", T5, _IN_OUT, num_experts=2, num_sparse_encoder_layers=1,
        num_sparse_decoder_layers=1),
    _of("Speech2Text", "ForConditionalGeneration", PAIR, "input_features decoder_input_ids", max_source_positions=40,
        max_target_positions=32, num_conv_layers=1, conv_kernel_sizes=[3], conv_channels=8, input_feat_per_channel=6),
    _of("Beit", "ForImageClassification", VISION, "pixel_values"),
    _of("Data2VecVision", "ForImageClassification", VISION, "pixel_values"),
    _of("DPT", "ForDepthEstimation", VISION, "pixel_values", num_hidden_layers=4, backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8, image_size=32, readout_type="ignore"),
    _of("Segformer", "ForSemanticSegmentation", {}, "pixel_values", depths=[1, 1, 1, 1], hidden_sizes=[4, 4, 8, 8],
        num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=8),
    _of("ResNet", "ForImageClassification", {}, "pixel_values", embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1],
        layer_type="basic"),
    _of("RegNet", "ForImageClassification", {}, "pixel_values", embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1],
        groups_width=4),
    _of("Timesformer", "ForVideoClassification", VISION, "pixel_values", num_frames=2),
    _of("VideoMAE", "ForVideoClassification", VISION, "pixel_values", num_frames=2, tubelet_size=2),
    _of("ViTMAE", "ForPreTraining", VISION, "pixel_values noise", decoder_hidden_size=8, decoder_num_hidden_layers=1,
        decoder_num_attention_heads=2, decoder_intermediate_size=12),
    _of("ViTMSN", "ForImageClassification", VISION, "pixel_values"),
    _of("Yolos", "ForObjectDetection", VISION, "pixel_values", num_detection_tokens=5, image_size=[16, 24]),
    _of("CLIP", "Model", {}, _BOTH, text_config=READ, vision_config=SEEN, projection_dim=12),
    _of("Siglip", "Model", {}, _BOTH, text_config={**READ, "projection_size": 16}, vision_config=VISION),
    _of("Blip", "ForImageTextRetrieval", {}, _BOTH, text_config={**READ, "encoder_hidden_size": 16},
        vision_config=VISION, projection_dim=12, image_text_hidden_size=12),
    _of("Vilt", "ForQuestionAnswering", {**TEXT, **VISION}, _BOTH),
    _of("Git", "ForCausalLM", TEXT, _BOTH, vision_config=VISION),
    _of("Llava", "ForConditionalGeneration", {}, _BOTH, text_config={**GROUPED, "model_type": "llama"},
        vision_config={**VISION, "model_type": "clip_vision_model", "num_hidden_layers": 2}, image_token_index=40),
    _of("Hubert", "ForCTC", WAVES, "input_values"),
    _of("WavLM", "ForCTC", WAVES, "input_values"),
    _of("SEW", "ForCTC", WAVES, "input_values", squeeze_factor=2),
    _of("AST", "ForAudioClassification", VISION, "input_values", max_length=24, num_mel_bins=16),
    _of("TimeSeriesTransformer", "ForPrediction", SERIES,
        "past_values past_time_features past_observed_mask future_values future_time_features"),
    _of("Informer", "ForPrediction", SERIES,
        "past_values past_time_features past_observed_mask future_values future_time_features"),
    _of("PatchTSMixer", "ForPrediction", {}, "past_values", context_length=16, patch_length=4, patch_stride=4,
        prediction_length=4, num_input_channels=2, d_model=8, num_layers=1),
    _of("DecisionTransformer", "Model", {}, "states actions rewards returns_to_go timesteps", state_dim=3, act_dim=2,
        hidden_size=16, n_layer=1, n_head=2, n_positions=64, max_ep_len=32),
)  # fmt: skip
"""Beside the architectures of `tests.converters.hugging_face`."""
