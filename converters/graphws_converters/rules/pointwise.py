"""Pointwise operations: entry by entry, so axes of the same position meet.

What an activation f leaves of scales is paper I, section 5.1: f(s x) = s^p f(x) for positive s (ReLU, p = 1), for
s = -1 (odd functions), for all s (powers), or for none.
"""

from __future__ import annotations

from graphws_converters.algebra.tensors import Abstract
from graphws_converters.algebra.unify import unify
from graphws_converters.analysis.engine import Engine
from graphws_converters.rules.registry import Call, Result, is_tensor, rule

_ODD = ("tanh", "sin", "asinh", "sinh", "atan", "erf", "asin", "arctan", "softsign", "tanhshrink", "hardshrink",
        "softshrink", "tan", "atanh")  # fmt: skip
_LINEAR = ("neg", "negative", "positive", "real", "conj", "_conj", "resolve_conj", "resolve_neg")
_RECTIFIERS = ("relu", "leaky_relu", "rrelu")


def nonlinear(e: Engine, call: Call) -> Result:
    """Any function of the entries at one place."""
    xs = call.tensors()
    return e.pointwise(xs, why=call.node.op) if xs else e.fresh(call.shape, uniform=True)


@rule(*_LINEAR, powers=True)
def linear_map(e: Engine, call: Call) -> Result:
    """Multiplication by a number."""
    x = e.plain(call["self"])
    return e.tensor(x.legs, told=e.agreed([(x, range(len(x.legs)))]))


@rule(*_ODD, powers=True)
def odd(e: Engine, call: Call) -> Result:
    """f(-x) = -f(x)."""
    x = e.pointwise([call["self"]], "add")
    e.pin(x.legs, "scale")
    return x


@rule("hardtanh", "clamp", "clip", powers=True)
def clamp(e: Engine, call: Call) -> Result:
    """A rectifier where it cuts at 0 only, odd where it cuts symmetrically."""
    low, high = call.get("min_val", call.get("min")), call.get("max_val", call.get("max"))
    if is_tensor(low) or is_tensor(high):
        x = e.pointwise(call.tensors(), why=call.node.op)
        e.pin(x.legs)
        return x
    x = e.pointwise([call["self"]], "add")
    scalable = {low, high} in ({0, None}, {0.0, None})
    symmetric = low is not None and high is not None and low == -high
    e.pin(x.legs if not scalable else [], "scale")
    e.pin(x.legs if not symmetric else [], "sign")
    return x


@rule(*_RECTIFIERS, powers=True)
def rectifier(e: Engine, call: Call) -> Result:
    """f(s x) = s f(x) for positive s."""
    x = e.pointwise([call["self"]], "add")
    e.pin(x.legs, "sign")
    return x


@rule("prelu", "_prelu_kernel", powers=True)
def prelu(e: Engine, call: Call) -> Result:
    """A rectifier with a slope for each channel."""
    x, slope = e.plain(call["self"]), e.plain(call["weight"])
    for k, leg in enumerate(slope.legs):
        if leg.size > 1:
            axis = 1 if len(slope.legs) == 1 else len(x.legs) - len(slope.legs) + k
            unify(x.legs[axis].dim, leg.dim, "the slopes of a PReLU")
            e.pin([leg])
    e.pin(x.legs, "sign")
    return e.tensor(x.legs, told=e.agreed([(x, range(len(x.legs)))]))


@rule("abs", powers=True)
def absolute(e: Engine, call: Call) -> Result:
    """|s x| = |s| |x|."""
    x = e.pointwise([call["self"]], "add")
    out = e.map_legs(x, 1, "scale")
    e.pin(out.legs, "sign")
    return out


@rule("square", powers=True)
def square(e: Engine, call: Call) -> Result:
    """x²."""
    return e.map_legs(e.pointwise([call["self"]], "add"), 2)


@rule("reciprocal", powers=True)
def reciprocal(e: Engine, call: Call) -> Result:
    """1/x."""
    return e.map_legs(e.pointwise([call["self"]], "add"), -1)


@rule("pow", powers=True)
def power(e: Engine, call: Call) -> Result:
    """x to a whole power; every other power pins."""
    x, exponent = call["self"], call.get("exponent", call.get("other"))
    if is_tensor(x) and isinstance(exponent, int | float) and exponent == int(exponent):
        return e.map_legs(e.pointwise([x], "add"), int(exponent))
    out = e.pointwise(call.tensors(), why="pow")
    e.pin(out.legs)
    return out


@rule("add", "sub", "subtract", powers=True)
def add(e: Engine, call: Call) -> Result:
    """Sums: both sides are scaled alike, and a number added pins."""
    x, y = call["self"], call["other"]
    if is_tensor(x) and is_tensor(y):
        return _sum(e, e.plain(x), e.plain(y))
    out = e.pointwise(call.tensors(), "add")
    if (y if is_tensor(x) else x) != 0:
        e.pin(out.legs)
    return out


def _sum(e: Engine, x: Abstract, y: Abstract) -> Abstract:
    for a, b in ((x, y), (y, x)):
        tails = zip(a.shape[::-1], b.shape[::-1], strict=False)
        if a.zero and len(a.legs) <= len(b.legs) and all(n in (1, m) for n, m in tails):
            met = e.pointwise([a, b], "multiply")  # they meet, but zeros follow any scale
            return e.tensor(b.legs, told=met.told)
    return e.pointwise([x, y], "add", "add")


@rule("mul", "multiply", powers=True)
def multiply(e: Engine, call: Call) -> Result:
    """Products: powers add."""
    return e.pointwise(call.tensors(), "multiply", "mul")


@rule("div", "divide", "true_divide", powers=True)
def divide(e: Engine, call: Call) -> Result:
    """Quotients: powers subtract; rounding pins."""
    if not is_tensor(call["self"]):
        return reciprocal(e, call)
    out = e.pointwise(call.tensors(), "divide", "div")
    if call.get("rounding_mode") is not None:
        e.pin([leg for x in call.tensors() for leg in e.plain(x).legs])
        e.pin(out.legs)
    return out


@rule("where", powers=True)
def where(e: Engine, call: Call) -> Result:
    """A choice between two: both are scaled alike, the condition not at all."""
    branches = [x for x in (call.get("self"), call.get("other")) if is_tensor(x)]
    if len(branches) < 2 or "condition" not in call.arguments:
        out = nonlinear(e, call)
        assert isinstance(out, Abstract)
        e.pin([leg for x in call.tensors() for leg in e.plain(x).legs])
        return out
    condition = e.plain(call["condition"])
    e.pin(condition.legs)
    both = _sum(e, *(e.plain(x) for x in branches))
    return e.pointwise([both, condition], "multiply", "where")


@rule("masked_fill", powers=True)
def masked_fill(e: Engine, call: Call) -> Result:
    """Some entries replaced; by zeros, powers stay."""
    x, mask, value = e.plain(call["self"]), e.plain(call["mask"]), call["value"]
    e.pin(mask.legs)
    if is_tensor(value) or value != 0:
        e.pin(x.legs)
    return e.pointwise([x, mask], "multiply", "masked_fill")


@rule("eq", "ne")
def compare(e: Engine, call: Call) -> Result:
    """Indices may be compared with indices of the same axis without giving its order away."""
    x, y = e.plain(call["self"]), e.plain(call.get("other"))
    if isinstance(y, Abstract) and x.index is not None and y.index is not None and x.index.size == y.index.size:
        unify(x.index, y.index, "a comparison of indices")
        e.addressing += [x, y]
        return e.pointwise([Abstract(x.legs), Abstract(y.legs)], why="eq")
    return nonlinear(e, call)


@rule("glu", powers=True)
def glu(e: Engine, call: Call) -> Result:
    """a σ(b), with a and b the halves of an axis."""
    x, axis = e.plain(call["self"]), call.axis()
    a, b = e.cut(x, axis, [call.shape[axis]] * 2)
    e.pin(b.legs)
    return e.pointwise([a, b], "multiply", "glu")


@rule("addcmul", "addcdiv", "lerp", "maximum", "minimum", "fmod", "remainder", "floor_divide", "rsub")
@rule("threshold", "softplus", "log_sigmoid", "log_sigmoid_forward", "logical_and", "logical_or", "logical_not")
@rule("bitwise_and", "bitwise_or", "bitwise_not", "__and__", "__or__", "isin", "nan_to_num", "hardsigmoid", "selu")
@rule("hardswish", "relu6", "celu", "elu", "mish", "silu", "gelu", "sigmoid", "ge", "le", "gt", "lt", "exponential")
def other(e: Engine, call: Call) -> Result:
    """Nothing is known of them but that they are pointwise."""
    outputs = [nonlinear(e, call) for _ in call.shapes]
    return outputs[0] if len(outputs) == 1 else list(outputs)
