"""Calls of ATen's library under the one name that the table has for them.

A module is recorded by the functions that it calls (``conv2d``, ``batch_norm``), an exported program or an ONNX file by
what they come down to (``convolution``, ``native_batch_norm``).  Where both are the same function, the call is written
under the row's name, its arguments under the row's names.

>>> canonical("native_dropout", {"input": "x", "p": 0.1, "train": False}, single=True)
('identity', {'x': 'x'})
>>> canonical("dropout", {"input": "x", "p": 0.1, "train": True}, single=True) is None
True
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from graphws.kinds.table import spelled

Arguments = dict[str, Any]
Call = tuple[str, Arguments]
_ADAPTERS: dict[str, Callable[[Arguments], Call | None]] = {}
FIRST_ONLY: set[str] = set()
"""Calls that give more than their row does, which stands for them only where nobody reads the rest."""


def canonical(op: str, arguments: Mapping[str, Any], *, single: bool) -> Call | None:
    """The row's name and its arguments; None where the table has nothing for this call.

    Args:
        op: The operation's name in ATen.
        arguments: By the names of its schema.
        single: Whether only its first result is read.
    """
    given = dict(arguments)
    if op in FIRST_ONLY and not single:
        row = spelled(op)
        return None if row is None else (row.name, given)
    if op in _ADAPTERS:
        return _ADAPTERS[op](given)
    row = spelled(op)
    if row is None:
        return None
    if all(name in row.attributes or _reads(row.operands, name) for name in given) or row.from_aten:
        return row.name, given
    operands = iter(row.operands)  # a function of ours: operands by their order
    named = {}
    for name, value in given.items():
        operand = None if name in row.attributes else next(operands, None)
        if operand is not None or name in row.attributes:
            named[name if operand is None else operand.name] = value
    return row.name, named


def _reads(operands: Any, name: str) -> bool:
    return any(operand.name == name for operand in operands)


def _adapts(*ops: str, single: bool = False) -> Callable[[Callable[[Arguments], Call | None]], Any]:
    """Registers how calls of some operations are written."""

    def register(function: Callable[[Arguments], Call | None]) -> Callable[[Arguments], Call | None]:
        _ADAPTERS.update(dict.fromkeys(ops, function))
        if single:
            FIRST_ONLY.update(ops)
        return function

    return register


def _kept(arguments: Arguments, **names: str) -> Arguments:
    """Some arguments under other names: new="old"; what is missing stays missing."""
    return {new: arguments[old] for new, old in names.items() if old in arguments}


@_adapts("convolution", "_convolution", "cudnn_convolution", "mkldnn_convolution")
def _convolution(a: Arguments) -> Call:
    sides = len(a["stride"])
    kept = _kept(a, input="input", weight="weight", bias="bias", stride="stride", padding="padding",
                 dilation="dilation", groups="groups")  # fmt: skip
    if a.get("transposed", False):
        return f"conv_transpose{sides}d", {**kept, "output_padding": a["output_padding"]}
    return f"conv{sides}d", kept


@_adapts("batch_norm", "cudnn_batch_norm")
def _batch_norm(a: Arguments) -> Call | None:
    mean, variance = a.get("running_mean"), a.get("running_var")
    if (a.get("training") or a.get("use_input_stats")) and mean is not None:
        return None  # statistics of the batch, and the running ones change
    kept = {"x": a["input"], "weight": a.get("weight"), "bias": a.get("bias"), "mean": mean, "variance": variance}
    return "batch_norm", {**kept, "eps": a.get("eps", 1e-5)}


_adapts(
    "native_batch_norm", "_native_batch_norm_legit_no_training", "_native_batch_norm_legit",
    "_native_batch_norm_legit_functional", "_batch_norm_impl_index", "_batch_norm_no_update", single=True,
)(_batch_norm)  # fmt: skip


@_adapts("native_layer_norm", single=True)
def _layer_norm(a: Arguments) -> Call:
    return "layer_norm", _kept(a, input="input", normalized_shape="normalized_shape", weight="weight", bias="bias",
                               eps="eps")  # fmt: skip


@_adapts("native_group_norm", single=True)
def _group_norm(a: Arguments) -> Call:
    return "group_norm", _kept(a, input="input", num_groups="group", weight="weight", bias="bias", eps="eps")


@_adapts("_fused_rms_norm", single=True)
def _rms_norm(a: Arguments) -> Call:
    return "rms_norm", a


for _sides in (1, 2, 3):
    _adapts(f"max_pool{_sides}d_with_indices", single=True)(lambda a, _name=f"max_pool{_sides}d": (_name, a))  # type: ignore[misc]


@_adapts("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
def _dropout(a: Arguments) -> Call | None:
    return None if a.get("train") and a.get("p", 0.5) else ("identity", {"x": a["input"]})


_adapts("native_dropout", single=True)(_dropout)


@_adapts("rrelu")
def _rrelu(a: Arguments) -> Call | None:
    slope = (float(a.get("lower", 1 / 8)) + float(a.get("upper", 1 / 3))) / 2
    return None if a.get("training") else ("leaky_relu", {"self": a["self"], "negative_slope": slope})


@_adapts("_softmax", "softmax")
def _softmax(a: Arguments) -> Call:
    return "softmax", {"x": a["self"]} | {k: a[k] for k in ("dim", "dtype") if a.get(k) is not None}


@_adapts("_log_softmax")
def _log_softmax(a: Arguments) -> Call:
    return "log_softmax", _kept(a, self="self", dim="dim")


@_adapts("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_efficient_attention",
         "_scaled_dot_product_flash_attention", "_scaled_dot_product_attention_math",
         "_scaled_dot_product_fused_attention_overrideable", single=True)  # fmt: skip
def _attention(a: Arguments) -> Call | None:
    if a.get("dropout_p"):
        return None
    mask = a.get("attn_mask", a.get("attn_bias"))
    kept = _kept(a, query="query", key="key", value="value", is_causal="is_causal", scale="scale")
    return "scaled_dot_product_attention", kept | ({} if mask is None else {"attn_mask": mask})


@_adapts("scaled_dot_product_attention")
def _plain_attention(a: Arguments) -> Call | None:
    return None if a.get("dropout_p") else ("scaled_dot_product_attention", a)


@_adapts("to", "_to_copy", "type_as")
def _cast(a: Arguments) -> Call:
    if a.get("other") is not None:
        return "cast", {"x": a["self"], "other": a["other"]}
    return ("identity", {"x": a["self"]}) if a.get("dtype") is None else ("cast", {"x": a["self"], "dtype": a["dtype"]})


@_adapts("view", "_unsafe_view", "view_copy", "_reshape_alias", "_reshape_copy")
def _view(a: Arguments) -> Call | None:
    return None if a.get("dtype") is not None else ("reshape", {"self": a["self"], "shape": a["size"]})


def _recurrent_of(name: str) -> Callable[[Arguments], Call | None]:
    def adapt(a: Arguments) -> Call | None:
        if (a.get("train") and a.get("dropout")) or "params" not in a:
            return None
        states = list(a["hx"]) if isinstance(a["hx"], list | tuple) else [a["hx"]]
        kept = _kept(a, has_biases="has_biases", num_layers="num_layers", bidirectional="bidirectional",
                     batch_first="batch_first")  # fmt: skip
        named = dict(zip(("hidden", "cell"), states, strict=False))
        return name, {"x": a["input"], **named, "weights": list(a["params"]), **kept}

    return adapt


for _name in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
    _ADAPTERS[_name] = _recurrent_of(_name)


@_adapts("_weight_norm_interface", single=True)
def _weight_norm(a: Arguments) -> Call:
    return "_weight_norm", a
