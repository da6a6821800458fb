"""Normalisation: statistics mix entries and know their size; the affine part after them does not.

So what a norm reads cannot be scaled (but for signs, where no mean is subtracted), while its own scale and shift may
follow what reads them.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphws_converters.algebra.dims import Dim
from graphws_converters.algebra.tensors import Abstract, Leg
from graphws_converters.algebra.unify import regroup, unify
from graphws_converters.analysis.engine import Engine
from graphws_converters.rules.registry import Call, Result, rule


@rule("batch_norm", "native_batch_norm", "_native_batch_norm_legit", "cudnn_batch_norm", "_batch_norm_impl_index",
      "_native_batch_norm_legit_no_training", "_native_batch_norm_legit_functional", "_batch_norm_no_update",
      "_batch_norm_with_update", "instance_norm", powers=True)  # fmt: skip
def batch_norm(e: Engine, call: Call) -> Result:
    """(x - mean) / sqrt(var + eps) w + b, one of each for a channel.

    With running statistics a sign goes through; a scale would, too, but for eps.
    """
    x = e.plain(call.get("input", call.get("self")))
    mean, variance = (_given(e, call, name) for name in ("running_mean", "running_var"))
    live = mean is None or variance is None or bool(call.get("training", call.get("use_input_stats", False)))
    channel = x.legs[1]
    e.pin([leg for k, leg in enumerate(x.legs) if k != 1])
    if live or call.get("eps", call.get("epsilon", 1.0)) != 0:
        e.pin([channel], "scale")
    if live:
        e.pin([channel])
    if live:
        e.barrier(x, [k for k in range(len(x.legs)) if k != 1])
    for tensor, power in ((mean, 1), (variance, 2)):
        if tensor is not None:
            unify(channel.dim, tensor.legs[0].dim, "the statistics of a norm")
            e.relate((1, tensor.legs[0]), (-power, channel))
            e.written.append(tensor.legs[0])
            e.squared += tensor.legs[:1] if power == 2 else ()
    out = _affine(e, channel, _given(e, call, "weight"), _given(e, call, "bias"))
    y = e.tensor([out if k == 1 else leg for k, leg in enumerate(x.legs)])
    return [y, *(e.fresh(shape) for shape in call.shapes[1:])]


@rule("layer_norm", "native_layer_norm", powers=True)
def layer_norm(e: Engine, call: Call) -> Result:
    """A norm over the last axes, with their mean subtracted."""
    x = e.plain(call["input"])
    count = len(call["normalized_shape"])
    y = e.mixing(x, range(-count, 0))
    legs = _affine_axes(e, y.legs, count, _given(e, call, "weight"), _given(e, call, "bias"))
    statistics = [e.tensor([*x.legs[:-count], *(Leg(Dim(1)) for _ in range(count))]) for _ in call.shapes[1:]]
    return [e.tensor(legs, told=y.told), *statistics]


@rule("rms_norm", "_fused_rms_norm", powers=True)
def rms_norm(e: Engine, call: Call) -> Result:
    """A norm over the last axes without a mean: signs go through."""
    x = e.plain(call["input"])
    count = len(call["normalized_shape"])
    e.barrier(x, range(-count, 0))
    e.pin(x.legs[:-count])
    e.pin(x.legs[-count:], "scale")
    legs = _affine_axes(e, x.legs, count, _given(e, call, "weight"), None)
    statistics = [e.tensor([*x.legs[:-count], *(Leg(Dim(1)) for _ in range(count))]) for _ in call.shapes[1:]]
    rank = len(legs)
    return [e.tensor(legs, told=e.agreed([(x, range(rank))], range(rank - count, rank))), *statistics]


@rule("group_norm", "native_group_norm", powers=True)
def group_norm(e: Engine, call: Call) -> Result:
    """A norm over the channels of a group and all pixels; groups may be permuted as wholes."""
    x = e.plain(call["input"])
    groups = int(call.get("num_groups", call.get("group", 1)))
    channel = x.legs[1]
    parts = regroup([channel.dim], [groups, channel.size // groups])
    if parts is None:
        e.release([channel], "a group norm that cuts across its structure")
    else:
        e.barriers.append([x.legs[0].dim, parts[0]])
    e.barrier(x, range(2, len(x.legs)))
    e.pin(x.legs)
    out = _affine(e, channel, _given(e, call, "weight"), _given(e, call, "bias"))
    y = e.tensor([out if k == 1 else leg for k, leg in enumerate(x.legs)])
    return [y, *(e.fresh(shape) for shape in call.shapes[1:])]


def _given(e: Engine, call: Call, name: str) -> Abstract | None:
    found = call.get(name)
    return None if found is None else e.plain(found)


def _affine(e: Engine, normed: Leg, weight: Abstract | None, bias: Abstract | None, axis: int = 0) -> Leg:
    """One axis times w plus b: the result follows the normed axis and w, and b follows the result."""
    out = normed
    if weight is not None:
        unify(normed.dim, weight.legs[axis].dim, "the scale of a norm")
        out = Leg(normed.dim)
        e.relate((-1, out), (1, normed), (1, weight.legs[axis]))
        e.written.append(weight.legs[axis])
    if bias is not None:
        e.same(out, bias.legs[axis], "the shift of a norm")
        e.written.append(bias.legs[axis])
    return out


def _affine_axes(
    e: Engine, legs: Sequence[Leg], count: int, weight: Abstract | None, bias: Abstract | None
) -> list[Leg]:
    normed = [_affine(e, leg, weight, bias, k) for k, leg in enumerate(legs[-count:])]
    return [*legs[:-count], *normed]


@rule("softmax", "_softmax", "log_softmax", "_log_softmax", "_safe_softmax", "softmin")
def softmax(e: Engine, call: Call) -> Result:
    """Mixes one axis, whatever its order."""
    return e.mixing(call.get("self", call.get("input")), [call.axis()])


@rule("normalize")
def normalize(e: Engine, call: Call) -> Result:
    """x / |x| along an axis."""
    return e.mixing(call["self"], [call.axis(default=1)])
