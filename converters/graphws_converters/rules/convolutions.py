"""Convolutions: a product over channels, for each tap of the kernel and each pixel."""

from __future__ import annotations

from graphws_converters.algebra.dims import Dim, product
from graphws_converters.algebra.tensors import Abstract, Leg
from graphws_converters.algebra.unify import regroup, unify
from graphws_converters.analysis.engine import Engine
from graphws_converters.rules.registry import Call, NotCovered, Result, rule

_GROUPS, _MEMBERS = "the groups of a convolution", "the channels of a group"
_CUTS_ACROSS = "groups that cut across the structure of the channels"


@rule(
    "convolution", "_convolution", "conv1d", "conv2d", "conv3d", "cudnn_convolution", "mkldnn_convolution", powers=True
)
@rule("conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "thnn_conv2d", "_slow_conv2d_forward", powers=True)
def convolution(e: Engine, call: Call) -> Result:
    """Kernel taps and pixels are ordered, channels are not; groups of channels may be permuted as wholes."""
    x, weight = e.plain(call.get("input", call.get("self"))), e.plain(call["weight"])
    pixels = len(weight.legs) - 2
    axis = len(x.legs) - pixels - 1
    transposed = bool(call.get("transposed", "transpose" in call.node.op))
    e.release(x.legs[axis + 1 :], "pixels")
    e.release(weight.legs[2:], "kernel")
    e.barrier(x, range(axis + 1, len(x.legs)))
    groups = int(call.get("groups", 1))
    if groups == 1:
        channels = _dense(e, x.legs[axis], weight, transposed)
    else:
        channels = (_grouped_transposed if transposed else _grouped)(e, x.legs[axis], weight, groups)
    reads, writes = (0, 1) if transposed else (1, 0)
    e.read += [weight.legs[reads]] if groups == 1 or weight.shape[reads] > 1 else []
    e.written.append(weight.legs[writes])
    picture = [Leg(Dim(size, "pixels")) for size in call.shape[axis + 1 :]]
    y = e.tensor([*x.legs[:axis], channels, *picture])
    bias = call.get("bias")
    return y if bias is None else e.shifted(y, e.plain(bias), axis)


def _dense(e: Engine, channels: Leg, weight: Abstract, transposed: bool) -> Leg:
    """Every output channel sees every input channel."""
    reads, writes = (0, 1) if transposed else (1, 0)
    unify(channels.dim, weight.legs[reads].dim, "the channels of a convolution")
    e.relate((1, channels), (1, weight.legs[reads]), linear=True)
    e.barriers.append([channels.dim])
    return weight.legs[writes]


def _grouped(e: Engine, channels: Leg, weight: Abstract, groups: int) -> Leg:
    """The output channels of a group see the input channels of that group: depthwise where it has one channel."""
    inside, outside = channels.size // groups, weight.shape[0] // groups
    into, out = regroup([channels.dim], [groups, inside]), regroup([weight.legs[0].dim], [groups, outside])
    if into is None or out is None:
        raise NotCovered(_CUTS_ACROSS)
    unify(into[0], out[0], _GROUPS)
    unify(into[1], weight.legs[1].dim, _MEMBERS)
    own, result = Leg(out[0]), Leg(out[1])
    e.regrouped([weight.legs[0]], [own, result])
    return _written_by_group(e, channels, Leg(into[1]), own, weight.legs[1], result)


def _grouped_transposed(e: Engine, channels: Leg, weight: Abstract, groups: int) -> Leg:
    """The same with the roles of the two axes exchanged: the rows are the input channels, and hold the groups."""
    inside = channels.size // groups
    into, rows = regroup([channels.dim], [groups, inside]), regroup([weight.legs[0].dim], [groups, inside])
    if into is None or rows is None:
        raise NotCovered(_CUTS_ACROSS)
    unify(into[0], rows[0], _GROUPS)
    unify(into[1], rows[1], _MEMBERS)
    own, reading = Leg(rows[0]), Leg(rows[1])
    e.regrouped([weight.legs[0]], [own, reading])
    return _written_by_group(e, channels, Leg(into[1]), own, reading, weight.legs[1])


def _written_by_group(e: Engine, channels: Leg, member: Leg, own: Leg, reading: Leg, result: Leg) -> Leg:
    """The output channels, (group, result), with the demands on powers.

    Args:
        e: Where demands are collected.
        channels: The input channels, (group, member).
        member: Which input channel of its group.
        own: The groups as the weight holds them.
        reading: The input channels of a group as the weight holds them.
        result: The output channels of a group as the weight holds them.
    """
    group = Leg(own.dim)
    e.regrouped([channels], [group, member])
    e.relate((1, member), (1, reading), linear=True)
    e.barriers.append([group.dim, member.dim])
    both = Leg(group.dim)
    e.relate((-1, both), (1, group), (1, own))
    made = Leg(product([group.dim, result.dim]))
    e.regrouped([both, result], [made])
    return made
