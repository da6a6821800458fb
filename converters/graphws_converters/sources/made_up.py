"""One input of a model of transformers at a time, by its name, made up from the sizes in the config.

A config may be made of parts (a text and a vision model, an encoder and a decoder): a size is looked for in the parts
that the input belongs to, then in the whole, then in the other parts.  Where several shapes may be meant, all are
given, the likeliest first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

BATCH, TOKENS, PIXELS, FRAMES = 2, 12, 64, 40
LARGEST_INPUT = 1 << 26
"""Most numbers that an input made up here may have."""
TEXT, ENCODED, DECODED = (
    r"text|language|llm|thinker",
    r"text|encoder|question|language|llm|thinker",
    r"decoder|text|language|generator",
)
VISION, AUDIO = r"vision|image|visual|encoder|backbone|video", r"audio|speech|encoder|acoustic"
_VOCABULARY = ("vocab_size", "src_vocab_size", "num_hash_buckets", "n_words")
_LONGEST = ("max_position_embeddings", "max_target_positions", "n_positions", "max_seq_len", "max_length")
_SPECIAL = re.compile(r"token_(id|index)$|^(image|video|audio)_token")


class Sizes:
    """The sizes in a config and its parts."""

    def __init__(self, config: Any, generator: torch.Generator) -> None:
        self.generator = generator
        self._parts = list(_parts(config, "", set()))

    def owner(self, *names: str, of: str) -> Any:
        """The part that has one of the sizes.

        Raises:
            AttributeError: Where none has.
        """
        order = sorted(self._parts, key=lambda part: (not (part[0] and re.search(of, part[0])), part[0] != ""))
        for _, config in order:
            if any(getattr(config, name, None) is not None for name in names):
                return config
        raise AttributeError(f"no {' or '.join(names)}")

    def find(self, *names: str, of: str, default: Any = None) -> Any:
        """The first of the sizes that is there, in the part that has one.

        Raises:
            AttributeError: Where there is none, and no default.
        """
        try:
            config = self.owner(*names, of=of)
        except AttributeError:
            if default is None:
                raise
            return default
        return next(value for name in names if (value := getattr(config, name, None)) is not None)

    def special(self) -> set[int]:
        """The numbers of tokens that mean something by themselves."""
        found = [value for _, config in self._parts for name, value in vars(config).items() if _SPECIAL.search(name)]
        return {value for value in found if isinstance(value, int)}

    def normal(self, *shape: int) -> Tensor:
        """Random numbers of a shape that may be made, for each of a batch.

        Raises:
            ValueError: Where it is too large.
        """
        numbers = BATCH * math.prod(shape)
        if numbers > LARGEST_INPUT:
            raise ValueError(f"{numbers:.1e} numbers")
        return torch.randn(BATCH, *shape, generator=self.generator)


def _parts(config: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """A config and the configs in it, with the names under which they stand."""
    if id(config) in seen:
        return
    seen.add(id(config))
    yield path, config
    for name, inner in vars(config).items():
        if hasattr(inner, "model_type") and hasattr(inner, "to_dict"):
            yield from _parts(inner, f"{path}.{name}", seen)


def _tokens(of: str) -> Callable[[Sizes], Iterator[Tensor]]:
    def make(sizes: Sizes) -> Iterator[Tensor]:
        config = sizes.owner(*_VOCABULARY, of=of)
        entries = int(next(value for name in _VOCABULARY if (value := getattr(config, name, None)) is not None))
        usable = torch.ones(entries, dtype=torch.bool)
        usable[: min(3, entries - 1)] = False  # special tokens come first
        usable[[number for number in sizes.special() if 0 <= number < entries]] = False
        words = usable.nonzero().flatten() if usable.any() else torch.arange(entries)
        longest = next((value for name in _LONGEST if isinstance(value := getattr(config, name, None), int)), 0)
        end = getattr(config, "eos_token_id", None)
        books = getattr(config, "num_codebooks", None)
        shapes = [(BATCH,)] if not isinstance(books, int) else [(BATCH * books,), (BATCH,)]
        for rows in shapes:
            for wanted in (TOKENS, 4 * TOKENS):
                length = max(2, min(wanted, (longest or TOKENS + 4) - 4))  # some begin their positions later
                places = torch.randint(len(words), (*rows, length), generator=sizes.generator)
                made = words[places]
                if isinstance(end, int) and 0 <= end < entries:
                    made[:, -1] = end  # some read there what they say of the whole
                yield made
        if isinstance(books, int):
            for shape in ((BATCH, TOKENS, books), (BATCH, books, TOKENS)):
                yield words[torch.randint(len(words), shape, generator=sizes.generator)]

    return make


def _pictures(sizes: Sizes) -> Iterator[Tensor]:
    """Pictures, frames of films, or patches in a row."""
    vision = sizes.find("num_channels", "in_channels", "in_chans", "input_channels", of=VISION, default=3)
    channels = int(vision)
    frames = int(sizes.find("num_frames", "frames_per_clip", of=VISION, default=0))
    for height, width in _areas(sizes):
        for down, across in _pinpoints(sizes)[:1]:
            yield sizes.normal(1 + down // max(1, height) * (across // max(1, width)), channels, height, width)
        if frames:
            yield sizes.normal(frames, channels, height, width)
        yield sizes.normal(channels, height, width)
        if not frames:
            yield sizes.normal(1, channels, height, width)
            yield sizes.normal(2, channels, height, width)


def _pinpoints(sizes: Sizes) -> list[tuple[int, int]]:
    """Heights and widths to which large pictures are brought, to be cut into tiles beside a small copy of the whole."""
    found = sizes.find("image_grid_pinpoints", of=VISION, default=())
    return [(int(height), int(width)) for height, width in found]


def _picture_sizes(sizes: Sizes) -> Iterator[Tensor]:
    """Heights and widths of pictures, before they were cut into tiles."""
    for area in [*_pinpoints(sizes)[:1], *_areas(sizes)]:
        yield torch.tensor([area] * BATCH)


def patched(sizes: Sizes) -> Iterator[Tensor]:
    """Pictures as lists of patches, in rows or small pictures themselves: one list for each, or all in one."""
    for made in _patch_vectors()(sizes):
        yield made
        yield made.flatten(0, 1)
        edge = int(sizes.find("patch_size", of=VISION))
        if made.shape[-1] % edge**2 == 0:
            small = made.unflatten(-1, (-1, edge, edge))
            yield small
            yield small.flatten(0, 1)


def _videos(sizes: Sizes) -> Iterator[Tensor]:
    channels = int(sizes.find("num_channels", "in_channels", "in_chans", of=VISION, default=3))
    frames = int(sizes.find("num_frames", "frames_per_clip", of=VISION, default=2))
    for height, width in _areas(sizes):
        yield sizes.normal(frames, channels, height, width)


def _areas(sizes: Sizes) -> Iterator[tuple[int, int]]:
    """Heights and widths of pictures."""
    size = sizes.find("image_size", "img_size", "input_size", "crop_size", of=VISION, default=PIXELS)
    if isinstance(size, dict):
        size = tuple(size.get(key, size.get("shortest_edge", PIXELS)) for key in ("height", "width"))
    height, width = (size, size) if isinstance(size, int) else tuple(map(int, size))[-2:]
    yield height, width
    if height == 2 * width:
        yield width, width  # two of them, one above the other
    yield from ((edge, edge) for edge in (PIXELS, 2 * PIXELS, 224) if (edge, edge) != (height, width))


def _waves(sizes: Sizes) -> Iterator[Tensor]:
    """Long enough for a few frames behind the convolutions; or a spectrogram."""
    try:
        config = sizes.owner("conv_kernel", of=AUDIO)
        length = 1
        for kernel, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
            length = (length + 3 if length == 1 else length - 1) * stride + kernel
        yield sizes.normal(length)
    except AttributeError:
        pass
    bins = sizes.find("num_mel_bins", "n_mels", of=AUDIO, default=0)
    if bins:
        yield sizes.normal(int(sizes.find("max_length", of=AUDIO, default=FRAMES)), int(bins))
    channels = int(sizes.find("audio_channels", "num_channels", of=AUDIO, default=1))
    for length in (_hop(sizes) * 8, 4096, 16000):
        yield sizes.normal(channels, length)
        yield sizes.normal(length)


def _hop(sizes: Sizes) -> int:
    """How many samples of a wave become one frame."""
    ratios = sizes.find("upsampling_ratios", "downsampling_ratios", of=AUDIO, default=())
    return int(math.prod(ratios)) if ratios else int(sizes.find("hop_length", of=AUDIO, default=64))


def _features(sizes: Sizes) -> Iterator[Tensor]:
    """Spectrograms: features by time, time by features, or as pictures of one channel."""
    names = (
        "num_mel_bins",
        "feature_projection_input_dim",
        "input_dim",
        "n_mels",
        "mel_bins",
        "num_features",
        "input_feat_size",
    )
    bins = int(sizes.find(*names, of=AUDIO, default=80))
    frames = int(sizes.find("max_source_positions", of=AUDIO, default=0))
    if frames and not sizes.find("num_conv_layers", of=AUDIO, default=0):
        yield sizes.normal(bins, 2 * frames)
    by_time = int(sizes.find("input_feat_per_channel", of=AUDIO, default=bins))
    for length in (FRAMES, 4 * FRAMES, 1024):
        yield sizes.normal(length, by_time)
        yield sizes.normal(by_time, length)
    length = int(sizes.find("spec_size", of=AUDIO, default=64))
    yield sizes.normal(1, 4 * length, bins)
    yield sizes.normal(1, 1024, bins)


def _whole_features(sizes: Sizes) -> Iterator[Tensor]:
    """No padding behind features by time."""
    for made in _features(sizes):
        yield torch.ones(BATCH, made.shape[-1], dtype=torch.long)


def _series(length: Callable[[Any], int], *features: str) -> Callable[[Sizes], Iterator[Tensor]]:
    """Values over time, with as many numbers a step as a size says: none for one number."""

    def make(sizes: Sizes) -> Iterator[Tensor]:
        config = sizes.owner("context_length", "prediction_length", of="^$")
        width = next((int(value) for name in features if (value := getattr(config, name, None)) is not None), 1)
        if width == 1 and features[0] == "input_size":
            yield sizes.normal(length(config))
        yield sizes.normal(length(config), width)

    return make


def _past(config: Any) -> int:
    lags = getattr(config, "lags_sequence", None)
    return int(config.context_length) + (max(lags) if lags else 0)


def _future(config: Any) -> int:
    return int(config.prediction_length)


def _ones_like_past(sizes: Sizes) -> Iterator[Tensor]:
    for values in MAKERS["past_values"](sizes):
        yield torch.ones_like(values)


def _steps(name: str, default: int = 1) -> Callable[[Sizes], Iterator[Tensor]]:
    """A vector a step."""
    return lambda sizes: iter([sizes.normal(TOKENS, int(sizes.find(name, of="^$", default=default)))])


def _noise(sizes: Sizes) -> Iterator[Tensor]:
    """A random number a patch, by which patches are left out."""
    for number in _patches(sizes):
        yield torch.rand(BATCH, number, generator=sizes.generator)


def _masked(sizes: Sizes) -> Iterator[Tensor]:
    """Which patches are left out."""
    for number in _patches(sizes):
        yield torch.rand(BATCH, number, generator=sizes.generator) < 0.5


def _patches(sizes: Sizes) -> Iterator[int]:
    height, width = next(_areas(sizes))
    patch = sizes.find("patch_size", of=VISION)
    down, across = (patch, patch) if isinstance(patch, int) else tuple(patch)[-2:]
    frames = sizes.find("num_frames", of=VISION, default=1) // sizes.find("tubelet_size", of=VISION, default=1)
    yield frames * (height // down) * (width // across)


def _grid(sizes: Sizes) -> tuple[int, int]:
    """Rows and columns of patches of a picture that is given as a list of patches."""
    places = int(sizes.find("num_patches", "max_num_patches", of=VISION, default=16))
    merged = int(sizes.find("spatial_merge_size", of=VISION, default=1))
    edge = max(merged, min(4, math.isqrt(places)) // merged * merged)
    return edge, edge


def _patch_vectors(beside: int = 0) -> Callable[[Sizes], Iterator[Tensor]]:
    """The numbers of each patch in a row, behind as many others."""

    def make(sizes: Sizes) -> Iterator[Tensor]:
        rows, columns = _grid(sizes)
        numbers = int(sizes.find("patch_embed_hidden_size", of=VISION, default=0))
        if not numbers:
            depth = int(sizes.find("temporal_patch_size", of=VISION, default=1))
            channels = int(sizes.find("num_channels", "in_channels", "in_chans", of=VISION, default=3))
            numbers = channels * depth * int(sizes.find("patch_size", of=VISION)) ** 2
        made = sizes.normal(rows * columns, beside + numbers)
        if beside:
            places = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
            made[..., :beside] = 1 + places
        yield made

    return make


def _shapes(*first: int) -> Callable[[Sizes], Iterator[Tensor]]:
    return lambda sizes: iter([torch.tensor([[*first, *_grid(sizes)]] * BATCH)])


def _whole_grid(sizes: Sizes) -> Iterator[Tensor]:
    yield torch.ones(BATCH, math.prod(_grid(sizes)), dtype=torch.long)


def _regions(name: str, size: int) -> Callable[[Sizes], Iterator[Tensor]]:
    """Vectors of regions of a picture."""
    return lambda sizes: iter([sizes.normal(4, int(sizes.find(name, of=VISION, default=size)))])


def _whole_pictures(sizes: Sizes) -> Iterator[Tensor]:
    """Each word sees the only picture."""
    for words in _tokens(TEXT)(sizes):
        yield torch.ones(*words.shape, 1, dtype=torch.long)


def _task(sizes: Sizes) -> Iterator[Tensor]:
    """The words that say what is asked of a picture."""
    entries, length = (int(sizes.find(name, of="^$")) for name in ("text_encoder_vocab_size", "task_seq_len"))
    yield torch.randint(min(3, entries - 1), entries, (BATCH, length), generator=sizes.generator)


def _boxes(sizes: Sizes) -> Iterator[Tensor]:
    """Boxes of words on a page: left, top, right, bottom."""
    size = int(sizes.find("max_2d_position_embeddings", of=TEXT, default=1000))
    length = next(_tokens(TEXT)(sizes)).shape[1]
    first = torch.randint(size // 2, (BATCH, length, 2), generator=sizes.generator)
    yield torch.cat([first, first + torch.randint(1, size // 2, first.shape, generator=sizes.generator)], -1)


MAKERS: dict[str, Callable[[Sizes], Iterator[Tensor]]] = {
    "input_ids": _tokens(ENCODED),
    "decoder_input_ids": _tokens(DECODED),
    "qformer_input_ids": _tokens("qformer"),
    "pixel_values": _pictures,
    "pixel_values_videos": _videos,
    "input_values": _waves,
    "input_features": _features,
    "input_features_mask": _whole_features,
    "feature_attention_mask": _whole_features,
    "past_values": _series(_past, "input_size", "num_input_channels"),
    "past_time_features": _series(_past, "num_time_features"),
    "past_observed_mask": _ones_like_past,
    "future_values": _series(_future, "input_size", "num_input_channels"),
    "future_time_features": _series(_future, "num_time_features"),
    "states": _steps("state_dim"),
    "actions": _steps("act_dim"),
    "rewards": _steps(""),
    "returns_to_go": _steps(""),
    "timesteps": lambda sizes: iter([torch.arange(TOKENS).expand(BATCH, -1).clone()]),
    "flattened_patches": _patch_vectors(2),
    "spatial_shapes": _shapes(),
    "image_grid_thw": _shapes(1),
    "grid_thw": _shapes(1),
    "image_sizes": _picture_sizes,
    "image_merge_sizes": lambda _: iter([torch.ones(BATCH, dtype=torch.long)]),
    "pixel_attention_mask": _whole_grid,
    "visual_feats": _regions("visual_feat_dim", 2048),
    "visual_pos": _regions("visual_pos_dim", 4),
    "visual_embeds": _regions("visual_embedding_dim", 512),
    "bbox": _boxes,
    "image_attention_mask": _whole_pictures,
    "task_inputs": _task,
    "prompt_masks": _pictures,
    "noise": _noise,
    "bool_masked_pos": _masked,
}
"""What makes an input, by its name in ``forward``."""
