"""Inputs that say how others lie: grids of patches, the places of pictures among words, kinds of tokens, masks."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from graphws_converters.modules.conversion import ALIKE, convert_module
from graphws_converters.sources.held import hold_sizes
from graphws_converters.sources.sample import left_out, sample_inputs
from tests.converters.networks import seeded


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Reads(nn.Module):
    """Pictures as lists of patches; what lies where is read in Python."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.places, self.out = nn.Linear(6, 8), nn.Embedding(9, 8), nn.Linear(8, 3)

    def forward(self, pixel_values: Tensor, image_grid_thw: Tensor) -> Tensor:
        where = torch.cat([torch.arange(t * h * w) for t, h, w in image_grid_thw.tolist()])
        made: Tensor = self.out(torch.tanh(self.into(pixel_values) + self.places(where)))
        return made


class Marked(nn.Module):
    """Words of which some are the places of pictures."""

    def __init__(self, reads: str) -> None:
        super().__init__()
        self.words, self.into, self.out = nn.Embedding(9, 8), nn.Linear(6, 8), nn.Linear(8, 3)
        self.reads = reads

    def forward(self, input_ids: Tensor, pixel_values: Tensor) -> Tensor:
        h, marked = self.words(input_ids), input_ids == 8
        if self.reads == "words" and marked.any():
            h = h.masked_scatter(marked[..., None], self.into(pixel_values))
        if self.reads == "rows":
            h = h.index_put((marked,), h[marked] * self.into(pixel_values))
        if self.reads == "pictures" and pixel_values.sum() > -1e9:
            h = h + self.into(pixel_values).mean(0)
        if self.reads == "weights" and self.words.weight[0, 0] > -1e9:
            h = h + self.into(pixel_values).mean(0)
        made: Tensor = self.out(torch.tanh(h))
        return made


PATCHES, GRID = torch.randn(8, 6, generator=_rng(1)), torch.tensor([[1, 2, 2], [1, 1, 4]])
WORDS = torch.tensor([[3, 8, 8, 4], [8, 8, 5, 6]])


def test_sizes_are_held_by_the_model() -> None:
    module = seeded(Reads)
    given = {"pixel_values": PATCHES, "image_grid_thw": GRID}
    expected, kind = module(**given), type(module).__name__
    assert convert_module(module, given, generator=_rng()).verdict.startswith("UNVERIFIED (one path seen: a number was")
    rest, notes = hold_sizes(module, given)
    assert list(rest) == ["pixel_values"]
    assert type(module).__name__ == kind
    assert notes == ("image_grid_thw says how large the pictures are: the model is that of [[1, 2, 2], [1, 1, 4]]",)
    assert torch.equal(module(**rest), expected)
    assert not torch.equal(module(**rest, image_grid_thw=torch.tensor([[1, 2, 4]])), expected)
    found = convert_module(module, rest, generator=_rng())
    assert found.verified, found.verdict
    assert sorted(space.size for space in found.graph.spaces if space.moves) == [8]


def test_nothing_is_held_where_no_size_comes_in() -> None:
    module = seeded(Reads)
    inputs = {"pixel_values": PATCHES}
    assert hold_sizes(module, inputs) == (inputs, ())
    assert type(module) is Reads
    assert hold_sizes(module, (PATCHES,)) == ((PATCHES,), ())


@pytest.mark.parametrize(("reads", "laid_out"), [("words", True), ("words", False), ("rows", True), ("pictures", True)])
def test_reading_how_inputs_lie_is_no_path_where_the_caller_says_so(reads: str, laid_out: bool) -> None:
    given = {"input_ids": WORDS, "pixel_values": PATCHES[:4]}
    found = convert_module(seeded(lambda: Marked(reads)), given, generator=_rng(), laid_out=laid_out, marks={8})
    assert found.verified == (reads != "pictures" and laid_out), found.verdict
    assert (ALIKE in found.notes) == found.verified
    assert [space.size for space in found.graph.spaces if space.moves] == [8], "one stream of words and pictures"


class LeavesOut(nn.Module):
    """Leaves out pictures, by what ``asks`` says of each."""

    def __init__(self, asks: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(6, 8), nn.Linear(8, 3)
        self.asks = asks

    def forward(self, pixel_values: Tensor) -> Tensor:
        kept = self.asks(pixel_values, self.into.weight)
        made: Tensor = self.out(torch.tanh(self.into(pixel_values[kept] if kept.any() else pixel_values + 1)))
        return made


QUESTIONS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], bool]] = {
    "empty": (lambda x, w: (x == 0.0).sum(-1) != x.shape[-1], True),
    "empty after views": (lambda x, w: ~(x.view(2, 2, 6).flatten(0, 1).float().eq(0)).all(-1), True),
    "bright": (lambda x, w: x.sum(-1) > -1e9, False),
    "of no light": (lambda x, w: x.sum(-1) != 0, False),
    "clamped": (lambda x, w: (x.clamp(min=0) != 7).any(-1), False),
    "like a weight": (lambda x, w: (x != w[0]).any(-1), False),
    "large": (lambda x, w: (x > -1e9).any(-1), False),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_leaving_out_empty_pictures_is_layout(name: str) -> None:
    asks, sound = QUESTIONS[name]
    given = {"pixel_values": PATCHES[:4]}
    found = convert_module(seeded(lambda: LeavesOut(asks)), given, generator=_rng(), laid_out=True)
    assert found.verified == sound, found.verdict
    assert sound or "one path seen" in found.verdict
    assert (ALIKE in found.notes) == sound
    assert "one path seen" in convert_module(seeded(lambda: LeavesOut(asks)), given, generator=_rng()).verdict


def test_reading_a_weight_is_a_path_however_inputs_lie() -> None:
    given = {"input_ids": WORDS, "pixel_values": PATCHES[:4]}
    found = convert_module(seeded(lambda: Marked("weights")), given, generator=_rng(), laid_out=True)
    assert "one path seen" in found.verdict


class Chooses(nn.Module):
    """Reads something of its words in Python, and takes another path of weights where ``choose`` says so."""

    def __init__(self, choose: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.words, self.one, self.two, self.out = (
            nn.Embedding(40, 8),
            nn.Linear(8, 8),
            nn.Linear(8, 8),
            nn.Linear(8, 3),
        )
        self.choose = choose

    def forward(self, input_ids: Tensor) -> Tensor:
        h = self.words(input_ids)
        made: Tensor = self.out(torch.tanh(self.two(h) if self.choose(input_ids) else self.one(h)))
        return made


CHOICES: dict[str, tuple[Callable[[Tensor], Any], bool]] = {
    "a word": (lambda ids: ids[0, 0] == 37, False),
    "a word somewhere": (lambda ids: (ids == 37).any(), False),
    "a number": (lambda ids: ids[0, 0].item() == 37, False),
    "a list": (lambda ids: ids.tolist()[0][0] == 37, False),
    "a tensor": (lambda ids: torch.isin(ids, torch.tensor([36, 37])).any(), False),
    "beyond a word": (lambda ids: ids[:, 0].max() > 36, False),
    "a sum": (lambda ids: ids.sum() % 2 == 0, False),
    "a mark": (lambda ids: (ids == 30).any(), True),
    "how many marks": (lambda ids: int((ids == 30).sum()) > 9, True),
    "a mark's place": (lambda ids: int((ids == 30).nonzero()[0, 1]) > 1, True),
}


@pytest.mark.parametrize("name", CHOICES)
def test_words_are_data_and_marks_are_layout(name: str) -> None:
    choose, sound = CHOICES[name]
    ids = torch.tensor([[3, 30, 30, 14, 9], [7, 30, 25, 6, 11]])
    found = convert_module(
        seeded(lambda: Chooses(choose)), {"input_ids": ids}, generator=_rng(), laid_out=True, marks={30}
    )
    assert found.verified == sound, found.verdict
    assert sound or "one path seen" in found.verdict
    assert (ALIKE in found.notes) == sound
    by_place = convert_module(seeded(lambda: Chooses(choose)), (ids,), generator=_rng(), laid_out=True, marks={30})
    assert by_place.verified == sound, by_place.verdict


class Part(SimpleNamespace):
    """A config, or a part of one."""

    model_type = "made up"

    def to_dict(self) -> dict[str, Any]:
        return vars(self)


class Takes(nn.Module):
    """A model that runs on some shapes only."""

    def __init__(self, forward: Any, main: str, **config: Any) -> None:
        super().__init__()
        self.config, self.main_input_name = Part(**config), main
        self.forward = forward


def _pair(pixel_values: Tensor) -> None:
    assert pixel_values.shape == (2, 2, 3, 16, 16)


def _small(pixel_values: Tensor, image_grid_thw: Tensor) -> None:
    assert pixel_values.shape[1:] == (3, 4, 4)
    assert len(pixel_values) == int(image_grid_thw.prod(1).sum())


def _embedded_patches(flattened_patches: Tensor, decoder_input_ids: Tensor) -> None:
    assert flattened_patches.shape[-1] == 2 + 24


def _seen(input_ids: Tensor, pixel_values: Tensor, image_attention_mask: Any = None) -> None:
    assert pixel_values.ndim == 5
    assert image_attention_mask.shape == (*input_ids.shape, pixel_values.shape[1])


def _prompted(pixel_values: Tensor, prompt_pixel_values: Tensor, prompt_masks: Tensor) -> None:
    assert torch.cat([pixel_values, prompt_pixel_values], 2).shape[2:] == (32, 16)
    assert prompt_masks.shape[2] == 16


def _asked(pixel_values: Tensor, task_inputs: Tensor) -> None:
    assert task_inputs.shape == (2, 5)
    assert int(task_inputs.max()) < 30


def _either(inputs: Any = None, input_values: Any = None, input_features: Any = None) -> None:
    assert (input_values is None) != (input_features is None)


def _beside(input_ids: Tensor, pixel_values: Tensor, image_embeds_position_mask: Any = None) -> None:
    assert image_embeds_position_mask.shape == input_ids.shape
    assert image_embeds_position_mask.sum(1).tolist() == [20, 20]


PICTURE = {"image_size": 16, "patch_size": 4, "vocab_size": 30}
MODELS = [
    Takes(_pair, "pixel_values", **PICTURE),
    Takes(_small, "pixel_values", **PICTURE),
    Takes(_embedded_patches, "flattened_patches", patch_embed_hidden_size=24, vocab_size=30),
    Takes(_seen, "input_ids", **PICTURE),
    Takes(_prompted, "pixel_values", **{**PICTURE, "image_size": [32, 16]}),
    Takes(_asked, "pixel_values", **PICTURE, task_seq_len=5, text_encoder_vocab_size=30),
    Takes(_either, "inputs", num_mel_bins=6),
    Takes(_beside, "input_ids", **PICTURE, latent_query_num=20),
]


@pytest.mark.parametrize("model", MODELS, ids=[model.forward.__name__ for model in MODELS])
def test_inputs_are_made_up_for_each_way_of_laying_them_out(model: Takes) -> None:
    model.forward(**sample_inputs(model, _rng(), "cpu"))


class Places(nn.Module):
    """Features of pictures take the places of words, and another input says which words these are."""

    main_input_name = "input_ids"

    def __init__(self) -> None:
        super().__init__()
        self.config = Part(**PICTURE, image_token_id=29, hidden_size=6)

    def get_image_features(self, pixel_values: Tensor) -> Tensor:
        return pixel_values.new_zeros(len(pixel_values), 5, 6)

    def forward(self, input_ids: Tensor, pixel_values: Tensor, mm_token_type_ids: Any = None) -> None:
        assert torch.equal(mm_token_type_ids == 1, input_ids == 29)
        assert int((input_ids == 29).sum()) == 10


def test_kinds_of_tokens_are_told() -> None:
    inputs = sample_inputs(Places(), _rng(), "cpu")
    assert set(inputs) == set(inspect.signature(Places.forward).parameters) - {"self"}


class Counts(Places):
    """Sounds in the places of words, as many as the model itself knows only."""

    def __init__(self) -> None:
        super().__init__()
        self.config = Part(vocab_size=30, audio_token_id=28)

    def forward(self, input_ids: Tensor, input_values: Tensor, padding_mask: Any = None) -> None:  # type: ignore[override]
        tokens, features = int((input_ids == 28).sum()), 2 * input_values.shape[-1] // 100
        if tokens != features:
            raise ValueError(f"Audio features and audio tokens do not match, tokens: {tokens}, features: {features}")


def test_a_model_that_counts_places_gets_as_many() -> None:
    inputs = sample_inputs(Counts(), _rng(), "cpu")
    assert set(inputs) == {"input_ids", "input_values"}
    assert int((inputs["input_ids"] == 28).sum()) == 2 * inputs["input_values"].shape[-1] // 100 > 0


def test_masks_that_do_not_fit_are_left_out_before_the_data_are() -> None:
    def forward(input_ids: Tensor, pixel_values: Any = None, pixel_attention_mask: Any = None) -> None:
        assert pixel_attention_mask is None

    assert set(sample_inputs(Takes(forward, "input_ids", **PICTURE), _rng(), "cpu")) == {"input_ids", "pixel_values"}


def test_data_that_could_not_be_made_up_are_named() -> None:
    def forward(input_ids: Tensor, pixel_values: Any = None) -> None:
        assert pixel_values is None

    model = Takes(forward, "input_ids", **PICTURE)
    inputs = sample_inputs(model, _rng(), "cpu")
    assert [note.partition(":")[0] for note in left_out(model, inputs)] == [
        "tried on texts alone, without pixel_values"
    ]
    assert left_out(model, {**inputs, "pixel_values": PATCHES}) == ()


def _cut(pixel_values: Tensor, image_sizes: Tensor) -> None:
    assert image_sizes.tolist() == [[32, 16], [32, 16]]
    assert pixel_values.shape == (2, 3, 3, 16, 16)


def _sized(pixel_values: Tensor, image_sizes: Tensor) -> None:
    assert pixel_values.shape[1] == 3
    assert [list(pixel_values.shape[-2:])] * 2 == image_sizes.tolist()


def _merged(pixel_values: Tensor, image_grid_thw: Tensor, image_merge_sizes: Tensor) -> None:
    assert len(image_grid_thw) == len(image_merge_sizes) == len(pixel_values)


def _prompted(pixel_values: Tensor, prompt_pixel_values: Any = None) -> None:
    assert pixel_values.shape == prompt_pixel_values.shape


@pytest.mark.parametrize(
    ("forward", "config"),
    [(_cut, {"image_grid_pinpoints": [[32, 16], [16, 32]]}), (_sized, {}), (_merged, {}), (_prompted, {})],
)
def test_sizes_of_pictures_are_made_up_with_the_pictures(forward: Any, config: dict[str, Any]) -> None:
    model = Takes(forward, "pixel_values", **PICTURE, **config)
    assert set(sample_inputs(model, _rng(), "cpu")) == set(inspect.signature(forward).parameters)


def test_sizes_beside_pictures_are_held() -> None:
    class Sized(nn.Module):
        def forward(self, pixel_values: Tensor, image_sizes: Tensor) -> Tensor:
            return pixel_values[:, : int(image_sizes[0, 0])]

    rest, notes = hold_sizes(Sized(), {"pixel_values": PATCHES, "image_sizes": torch.tensor([[2, 3]])})
    assert list(rest) == ["pixel_values"]
    assert notes == ("image_sizes says how large the pictures are: the model is that of [[2, 3]]",)
