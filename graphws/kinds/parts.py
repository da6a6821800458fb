"""What a kind is among the layers of a network, and what the weights that it reads are to it.

>>> from graphws.kinds import kind
>>> kind("conv2d").part.name, kind("batch_norm").part.word("mean"), kind("addmm").part.word("self")
('conv', 'mean', 'bias')
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from graphws.shown import Shown

PartName = Literal[
    "", "linear", "conv", "convtranspose", "embedding", "recurrent", "norm", "attention", "softmax", "sum", "product",
    "pass", "rows",
]  # fmt: skip
LAYERS = frozenset({"linear", "conv", "convtranspose", "embedding", "recurrent"})
"""Parts that multiply by weights, or look rows of them up."""


@dataclass(frozen=True, repr=False)
class Part(Shown):
    """What a kind is among layers.

    Attributes:
        name: One of `LAYERS`, where one of its operands is weights; ``norm``; ``attention``; ``softmax``; ``sum`` and
            ``product``, entry by entry; ``pass``: gives on what it reads; ``rows``: chooses entries of its first
            operand; empty for all else.
        words: What the weights in an operand are: ``weight``, ``bias``, ``scale``; of recurrent layers' lists a word
            for each place.  Of attention: ``q``, ``k`` and ``v``.
    """

    name: PartName = ""
    words: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)

    def word(self, operand: str, place: int = 0) -> str:
        """What the weights in an operand are; empty where nothing is known of them.

        Args:
            operand: The operand's name.
            place: Position in the operand, where that is a list.
        """
        found = self.words.get(operand, "")
        return found if isinstance(found, str) else found[place % len(found)]


_LAYER = {"weight": "weight", "bias": "bias"}
_NORM = Part(
    "norm",
    {
        "weight": "scale", "bias": "bias", "mean": "mean", "variance": "variance", "running_mean": "mean",
        "running_var": "variance",
    },
)  # fmt: skip
_RECURRENT = Part("recurrent", {"weights": ("ih.weight", "hh.weight", "ih.bias", "hh.bias")})
_CELL = Part("recurrent", {"w_ih": "ih.weight", "w_hh": "hh.weight", "b_ih": "ih.bias", "b_hh": "hh.bias"})


def _product(*operands: str, bias: str = "") -> Part:
    return Part("linear", dict.fromkeys(operands, "weight") | ({bias: "bias"} if bias else {}))


PARTS: Mapping[str, Part] = {
    "linear": Part("linear", _LAYER),
    "bilinear": Part("linear", _LAYER),
    "matmul": _product("self", "other"),
    "mm": _product("self", "mat2"),
    "bmm": _product("self", "mat2"),
    "mv": _product("self", "vec"),
    "einsum": _product("tensors"),
    "tensordot": _product("self", "other"),
    "_grouped_mm": _product("self", "mat2", bias="bias"),
    "addmm": _product("mat1", "mat2", bias="self"),
    "addmv": _product("mat", "vec", bias="self"),
    "baddbmm": _product("batch1", "batch2", bias="self"),
    "addbmm": _product("batch1", "batch2", bias="self"),
    **{f"conv{n}d": Part("conv", _LAYER) for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": Part("convtranspose", _LAYER) for n in (1, 2, 3)},
    "embedding": Part("embedding", _LAYER),
    "embedding_bag": Part("embedding", _LAYER),
    **dict.fromkeys(("batch_norm", "layer_norm", "group_norm", "rms_norm", "instance_norm"), _NORM),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), _RECURRENT),
    **dict.fromkeys(("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"), _CELL),
    "scaled_dot_product_attention": Part("attention", {"query": "q", "key": "k", "value": "v"}),
    "dot_scores": Part("attention", {"queries": "q", "keys": "k"}),
    "attend": Part("attention", {"values": "v"}),
    "softmax": Part("softmax"),
    "_safe_softmax": Part("softmax"),
    **dict.fromkeys(("add", "sub"), Part("sum")),
    **dict.fromkeys(("mul", "div"), Part("product")),
    **dict.fromkeys(("identity", "cast", "neg"), Part("pass")),
    **dict.fromkeys(("index", "gather", "index_select", "take", "take_along_dim"), Part("rows")),
}
"""The part of each kind that has one."""
NO_PART = Part()
