"""Sums, means, extrema and norms along axes."""

from __future__ import annotations

from graphws_converters.analysis.engine import Engine
from graphws_converters.rules.registry import Call, Result, is_tensor, rule


def _axes(call: Call) -> list[int] | None:
    axes = call.get("dim", call.get("axis"))
    return None if axes is None else [axes] if isinstance(axes, int) else list(axes)


@rule("sum", "mean", "nansum", powers=True)
def summed(e: Engine, call: Call) -> Result:
    """The axes that stay are scaled as before."""
    return e.reduce(call["self"], _axes(call), call.get("keepdim", False))


@rule("amax", "amin", powers=True)
def extremum(e: Engine, call: Call) -> Result:
    """Positive scales pass, signs do not."""
    out = e.reduce(call["self"], _axes(call), call.get("keepdim", False))
    e.pin(out.legs, "sign")
    return out


@rule("max", "min")
def max_or_min(e: Engine, call: Call) -> Result:
    """Of two tensors, of all entries, or along an axis with indices."""
    if is_tensor(call.get("other")):
        return e.pointwise([call["self"], call["other"]], why=call.node.op)
    x = e.plain(call["self"])
    out = e.reduce(x, _axes(call), call.get("keepdim", False))
    if len(call.shapes) == 1:
        return out
    return [out, e.tensor(out.legs, index=x.dims[call["dim"]])]


@rule("argmax", "argmin")
def argmax(e: Engine, call: Call) -> Result:
    """Indices of an axis."""
    x = e.plain(call["self"])
    if call.get("dim") is None:
        return e.unknown([x], call.shapes, "an index into all entries")[0]
    out = e.reduce(x, [call["dim"]], call.get("keepdim", False))
    return e.tensor(out.legs, index=x.dims[call["dim"]])


@rule("linalg_norm", "linalg_vector_norm", "norm", "logsumexp", "special_logsumexp", "var", "std", "any", "all", "prod")
def reduction(e: Engine, call: Call) -> Result:
    """Any symmetric function of the entries along some axes."""
    x = call["self"] if "self" in call.arguments else call.tensors()[0]
    out = e.reduce(x, _axes(call), call.get("keepdim", False))
    return [out, *(e.tensor(out.legs) for _ in call.shapes[1:])]


@rule("var_mean", "std_mean")
def moments(e: Engine, call: Call) -> Result:
    """Two statistics of the same axes."""
    return reduction(e, call)
