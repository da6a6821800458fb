"""Which outputs count: those that are named, else what the network is for. The group leaves these alone, no more."""

from __future__ import annotations

import math
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass, make_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from graphws import convert
from graphws.checkpoints.conversion import Conversion, Hints, OutputChoice
from graphws.checkpoints.network_file import load_network, save_network
from graphws.errors import UsageError
from graphws_converters.modules.outputs import kind_of, left_out, parts_of
from tests.converters.networks import seeded
from tests.converters.onnx import build

X = torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
SEQUENCE = torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(1))


class Encoded(nn.Module):
    """Six hidden neurons behind five, and what `form` makes of logits, state and features."""

    def __init__(self, form: Callable[[Tensor, Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(3, 5), nn.Linear(5, 6), nn.Linear(6, 2)
        self.form = form

    def forward(self, x: Tensor) -> Any:
        state = torch.sigmoid(self.first(x))
        hidden = torch.sigmoid(self.second(state))
        return self.form(self.head(hidden), hidden, state)


class Recurrent(nn.Module):
    """Two recurrent layers of five, a head, and what `form` makes of logits, sequence and state."""

    def __init__(self, kind: type[nn.RNNBase], form: Callable[[Tensor, Tensor, Any], Any]) -> None:
        super().__init__()
        self.layers = kind(3, 5, num_layers=2, batch_first=True)  # type: ignore[call-arg]
        self.head, self.form = nn.Linear(5, 2), form

    def forward(self, x: Tensor) -> Any:
        sequence, state = self.layers(x)
        return self.form(self.head(sequence), sequence, state)


Fields = make_dataclass("Fields", ["logits", "hidden", "state"], frozen=True)
Named = namedtuple("Named", ["logits", "hidden", "state"])


def _order(found: Conversion, *sizes: int) -> bool:
    """Whether the group has the order of a product of symmetric groups."""
    return math.isclose(found.graph.log10_order(), sum(math.log10(math.factorial(n)) for n in sizes), abs_tol=1e-9)


def _encoded(form: Callable[..., Any], outputs: Any = None, choice: Any = None) -> Conversion:
    found = convert(seeded(lambda: Encoded(form)).double(), X, outputs=outputs)
    assert choice is None or found.outputs == OutputChoice(*choice)
    return found


def _moved(found: Conversion, module: nn.Module, inputs: Tensor) -> tuple[Any, Any]:
    """All outputs of a module, before and after a random element of a group."""
    assert found.weights is not None
    element = found.graph.group().random(torch.Generator().manual_seed(3), dtype=torch.float64, moving=True)
    state = element.act(found.weights.to(dtype=torch.float64)).to_state_dict()
    with torch.no_grad():
        return module(inputs), functional_call(module, state, (inputs,))


FORMS = [lambda *x: x, lambda *x: list(x), lambda *x: dict(zip(Named._fields, x, strict=True)), Fields, Named]


@pytest.mark.parametrize("form", FORMS)
def test_every_output_of_a_network_of_ones_own_counts_unless_others_are_chosen(form: Callable[..., Any]) -> None:
    names = list(parts_of(form(*range(1, 4))) or ())
    everything = _encoded(form, None, (tuple(names), ()))
    assert _order(everything)
    assert everything.notes[-1] == (
        f"outputs: with {names[0] if names[0] == '0' else repr(names[0])} alone 10^4.9 relabellings, with all 3 "
        f"10^0.0; outputs={names[0] if names[0] == '0' else repr(names[0])} counts it alone"
    )
    for wanted, sizes in (([0], (5, 6)), ([0, -1], (6,)), ([names[0], names[1]], (5,)), ("all", ())):
        kept = names if wanted == "all" else [name if isinstance(name, str) else names[name] for name in wanted]
        rest = tuple(name for name in names if name not in kept)
        found = _encoded(form, wanted, (tuple(kept), rest))
        assert _order(found, *sizes), wanted
        assert found.verified == bool(sizes)
        assert not any("outputs" in note for note in found.notes), "what the caller says is no news"


def test_the_group_leaves_alone_what_counts_and_nothing_else() -> None:
    module = seeded(lambda: Encoded(Named)).double()
    for outputs, kept in (("logits", "logits"), (("logits", "state"), "logits state"), (None, "logits hidden state")):
        before, after = _moved(convert(module, X, outputs=outputs), module, X)
        for name in Named._fields:
            change = float((getattr(before, name) - getattr(after, name)).abs().max())
            assert change < 1e-12 if name in kept.split() else change > 1e-3, (outputs, name, change)


@dataclass
class Inner:
    """A container inside a container."""

    deep: Tensor
    list: list[Tensor]


def test_a_path_leads_into_containers() -> None:
    def form(logits: Tensor, hidden: Tensor, state: Tensor) -> Any:
        return {"a": Inner(logits, [hidden, state]), "b.c": state}

    assert _order(_encoded(form, "a.deep", (("a.deep",), ("b.c",))), 5, 6)
    assert _order(_encoded(form, "a.list.1", (("a.list.1",), ("b.c",))))
    assert _order(_encoded(form, ("a.deep", "b.c"), (("a.deep", "b.c"), ())), 6)


def test_what_is_wrong_with_a_choice_of_outputs() -> None:
    def both(*x: Tensor) -> Any:
        return {"logits": x[0], "hidden": x[1], "none": None}

    cases: list[tuple[Any, str]] = [
        ("logit", r"^the module has no output 'logit'; did you mean 'logits'\?$"),
        ("xyz", r"^the module has no output 'xyz'; its outputs are logits, hidden, none$"),
        (3, r"^the module has no output 3; its outputs are logits, hidden, none$"),
        ("logits.0", r"^the module has no output 'logits\.0'; "),
        ("none", r"^output 'none' of the module is None on these inputs$"),
        ((), r"^outputs names none: give a name, a position, several of them, or 'all'$"),
        (True, r"^outputs are named by texts or positions, got a bool$"),
        ((1.5,), r"^outputs are named by texts or positions, got a float$"),
    ]
    for outputs, message in cases:
        with pytest.raises(UsageError, match=message):
            _encoded(both, outputs)
    with pytest.raises(UsageError, match=r"^the module has no output 1: it returns only one$"):
        convert(nn.Linear(3, 2).double(), X, outputs=(0, 1))
    assert convert(nn.Linear(3, 2).double(), X, outputs=0).outputs is None
    with pytest.raises(UsageError, match=r"^a state dict holds no code: it has no outputs to choose from$"):
        convert(nn.Linear(3, 2).state_dict(), outputs="logits")
    assert Hints(outputs=["a", "a", 0]).wanted == ("a", 0)


KEPT = {
    "T5": ("logits", "encoder_last_hidden_state cache past_key_values loss decoder_hidden_states cross_attentions"),
    "a base model": ("last_hidden_state pooler_output", "hidden_states attentions encoder_last_hidden_state"),
    "CLIP": ("logits_per_image logits_per_text", "text_embeds image_embeds loss"),
    "CLIP's text part": ("text_embeds", "last_hidden_state hidden_states"),
    "YOLOS": ("logits pred_boxes", "last_hidden_state loss_dict"),
    "ProphetNet": ("logits logits_ngram", "encoder_last_hidden_state decoder_ngram_hidden_states"),
    "XLNet": ("logits", "mems attentions"),
    "Mask2Former": (
        "class_queries_logits masks_queries_logits auxiliary_logits",
        "pixel_decoder_last_hidden_state transformer_decoder_hidden_states",
    ),
    "mixtures": ("logits", "router_logits encoder_router_logits router_probs aux_loss encoder_z_loss"),
    "RWKV": ("last_hidden_state", "state"),
    "fields of no known kind": ("feature_maps", "hidden_states"),
    "none of them beside a last state": ("last_hidden_state loc", "past_key_values"),
    "nothing but inner states": ("encoder_last_hidden_state attentions", ""),
    "speaker embeddings": ("logits", "embeddings"),
    "Wav2Vec2": ("last_hidden_state", "extract_features"),
}


@pytest.mark.parametrize("name", KEPT)
def test_kinds_of_fields(name: str) -> None:
    counted, others = (set(text.split()) for text in KEPT[name])
    assert left_out(dict.fromkeys(counted | others)) == others


def test_most_fields_of_transformers_are_of_a_known_kind() -> None:
    outputs = pytest.importorskip("transformers.modeling_outputs")
    fields = {f for kind in vars(outputs).values() for f in getattr(kind, "__dataclass_fields__", ())}
    unknown = {name for name in fields if not kind_of(name)}
    nested = {"image_outputs", "audio_outputs", "video_outputs"}
    meant = {"feature_maps", "spectrogram", "loc", "scale", "static_features", "params", "projection_state"}
    assert unknown <= nested | meant | {"sequences", "cls_token_value", "attention_mask"}
    assert {kind_of(name) for name in ("encoder_last_hidden_state", "losses", "logit", "hidden")} == {"inner", ""}


def _model_output(names: tuple[str, ...]) -> Callable[..., Any]:
    base = pytest.importorskip("transformers.utils").ModelOutput
    return make_dataclass("Outputs", [(name, Any, None) for name in names], bases=(base,))


def test_an_output_of_transformers_counts_what_it_is_for() -> None:
    kind = _model_output(("loss", "logits", "hidden_states", "encoder_last_hidden_state"))

    def form(*x: Tensor) -> Any:
        return kind(None, x[0], (x[1], x[2]), x[2])

    left = ("hidden_states", "encoder_last_hidden_state")
    found = _encoded(form, None, (("logits",), left))
    assert found.verified
    assert _order(found, 5, 6)
    assert "outputs left out: hidden_states, encoder_last_hidden_state; outputs='all' counts them" in found.notes
    assert found.counting == "outputs: logits (left out: hidden_states, encoder_last_hidden_state)"
    assert found.counting in str(found)
    assert _order(_encoded(form, "all", (("logits", *left), ())))
    plain = _encoded(lambda *x: OrderedDict(form(*x)))
    assert _order(plain), "the same names in a dictionary of one's own say nothing"
    bare = _model_output(("last_hidden_state", "encoder_last_hidden_state"))
    assert _order(_encoded(lambda *x: bare(x[1], x[2])), 5)


def test_an_output_inside_an_output_of_transformers_is_an_inner_one() -> None:
    inner, outer = _model_output(("last_hidden_state",)), _model_output(("logits", "text_outputs"))

    def form(*x: Tensor) -> Any:
        return outer(x[0], inner(x[2]))

    assert _order(_encoded(form, None, (("logits",), ("text_outputs",))), 5, 6)
    assert _order(_encoded(form, ("logits", "text_outputs.last_hidden_state")), 6)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_the_state_of_a_recurrent_layer_does_not_count_beside_its_output(kind: type[nn.RNNBase]) -> None:
    layers = seeded(lambda: kind(3, 5, num_layers=2, batch_first=True))  # type: ignore[call-arg]
    found = convert(layers, SEQUENCE)
    assert found.outputs == OutputChoice(("0",), ("1",))
    assert found.verified
    assert _order(found, 5), "the first layer; the second is what comes out"
    before, after = _moved(found, layers.double(), SEQUENCE.double())
    states = [outputs[1][0] if kind is nn.LSTM else outputs[1] for outputs in (before, after)]
    assert float((before[0] - after[0]).abs().max()) < 1e-12
    assert float((states[0] - states[1]).abs().max()) > 1e-3
    assert _order(convert(layers, SEQUENCE, outputs="all"))


RETURNED: list[tuple[Callable[..., Any], tuple[int, ...], tuple[str, ...]]] = [
    (lambda y, _, h: (y, h), (5, 5), ("1",)),
    (lambda y, _, h: {"y": y, "state": h.detach()}, (5, 5), ("state",)),
    (lambda y, _, h: (h, y), (), ()),
    (lambda y, _, h: (3, h), (), ()),
    (lambda y, z, h: (y, z, h), (5,), ("2",)),
    (lambda y, _, h: (y, 1.0 * h), (), ()),
    (lambda y, _, h: (y, h[-1]), (5,), ()),
    (lambda y, _, h: h, (), ()),
    (lambda y, _, h: (h, h), (), ()),
]


@pytest.mark.parametrize(("form", "sizes", "left"), RETURNED)
def test_states_behind_something_else_are_left_out(
    form: Callable[..., Any], sizes: tuple[int, ...], left: tuple[str, ...]
) -> None:
    module = seeded(lambda: Recurrent(nn.GRU, form))
    found = convert(module, SEQUENCE)
    assert _order(found, *sizes)
    assert found.verified == bool(sizes)
    assert (found.outputs.left_out if found.outputs else ()) == left
    assert any(note.startswith("outputs left out: ") for note in found.notes) == bool(left)


def test_what_a_cell_gives_is_a_state() -> None:
    class Step(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.head = nn.GRUCell(3, 5), nn.Linear(5, 2)

        def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
            h = self.cell(x, h)
            return self.head(h), h

    found = convert(seeded(Step).double(), X)
    assert found.verified
    assert _order(found, 5)
    assert found.outputs == OutputChoice(("0",), ("1",))
    fed = convert(seeded(Step).double(), (X, torch.randn(4, 5, dtype=torch.float64)))
    assert _order(fed), "a state that comes in has an order"


def test_outputs_of_an_onnx_file_go_by_their_names(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    rng, node = np.random.default_rng(0), onnx.helper.make_node
    constants = {"a": rng.normal(size=(3, 6)).astype(np.float32), "b": rng.normal(size=(6, 2)).astype(np.float32)}
    nodes = [node("MatMul", ["x", "a"], ["h"]), node("Tanh", ["h"], ["41"]), node("MatMul", ["41", "b"], ["y"])]
    onnx.save(build.model(nodes, {"x": [4, 3]}, ["41", "y"], constants), tmp_path / "net.onnx")
    every = convert(tmp_path / "net.onnx")
    assert _order(every)
    assert every.outputs == OutputChoice(("41", "y"))
    for outputs in ("y", 1, -1, ["y"]):
        found = convert(tmp_path / "net.onnx", outputs=outputs)
        assert found.verified
        assert _order(found, 6)
        assert found.outputs == OutputChoice(("y",), ("41",))
    assert _order(convert(tmp_path / "net.onnx", outputs=41)), "a name before a position"
    with pytest.raises(UsageError, match=r"^the module has no output 'z'; its outputs are 41, y$"):
        convert(tmp_path / "net.onnx", outputs="z")
    onnx.save(build.model(nodes, {"x": [4, 3]}, ["y"], constants), tmp_path / "one.onnx")
    assert convert(tmp_path / "one.onnx", outputs="y").verified
    with pytest.raises(UsageError, match=r"^the module has no output 'z': it returns only one, 'y'$"):
        convert(tmp_path / "one.onnx", outputs="z")


class Pair(nn.Module):
    """Hidden neurons beside what is made of them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.sigmoid(self.first(x))
        return hidden, self.last(hidden)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_outputs_of_torchscript_go_by_position(tmp_path: Path) -> None:
    torch.jit.script(seeded(Pair)).save(str(tmp_path / "net.pt"))
    found = convert(tmp_path / "net.pt", X.float(), allow_code=True, outputs=1)
    assert found.verified
    assert _order(found, 6)
    assert _order(convert(tmp_path / "net.pt", X.float(), allow_code=True))


def test_a_file_keeps_the_choice(tmp_path: Path) -> None:
    file = tmp_path / "net.safetensors"
    found = convert(seeded(Pair), X.float(), outputs=1)
    save_network(found, file)
    back = load_network(file, effort=math.inf)
    assert back.outputs == found.outputs == OutputChoice(("1",), ("0",))
    assert back.verified, "tried again on the output that counts"
    assert len(back.graph.outputs) == 1
    message = r"^net\.safetensors is a converted network: its outputs were chosen when it was converted$"
    with pytest.raises(UsageError, match=message):
        convert(file, outputs="all")
