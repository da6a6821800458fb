"""Which pointwise activation turned z into x: asked of the module's type, and always of the numbers.

A type says what is meant, the numbers what is computed; where they disagree, the numbers win.  A sine hidden in a
module's own forward code has no type, so its samples (z, x) are all there is: every known activation is fitted to them,
and exactly one may match, else the caller has to name it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from graphws.errors import GraphError, VerificationError
from graphws.kinds import kind
from graphws.operations import ACTIVATIONS, Activation

TOLERANCE = 1e-9
"""Largest difference of an activation's output from the sample, relative to 1 + |x|."""
POWERS = range(2, 9)


@dataclass(frozen=True)
class Hint:
    """What the caller says about one activation; None where nothing."""

    kind: str | None = None
    omega: float | None = None
    exponent: int | None = None


_TYPES: dict[type[nn.Module], str] = {
    nn.ReLU: "relu",
    nn.LeakyReLU: "leaky_relu",
    nn.Tanh: "tanh",
    nn.Hardtanh: "hardtanh",
    nn.Softsign: "softsign",
    nn.Tanhshrink: "tanhshrink",
    nn.Sigmoid: "sigmoid",
    nn.GELU: "gelu",
    nn.SiLU: "silu",
    nn.ELU: "elu",
    nn.CELU: "celu",
    nn.SELU: "selu",
    nn.Softplus: "softplus",
    nn.Mish: "mish",
    nn.Hardswish: "hardswish",
    nn.ReLU6: "relu6",
}


def of_module(module: nn.Module) -> Activation | None:
    """What a module's type and its constants say, or None for a type that says nothing."""
    name = _TYPES.get(type(module))
    if name is None:
        return None
    constants = {}
    for attribute, field in kind(name).attributes.items():
        value = getattr(module, attribute, field.default)
        if value != field.default:
            constants[attribute] = value if isinstance(value, str) else float(value)
    return Activation(name, constants)


def identify(z: Tensor, x: Tensor, between: Sequence[nn.Module], hint: Hint, place: str) -> Activation:
    """The activation that turned z into x.

    Args:
        z: Samples before, of any shape, float64.
        x: Samples after, of the same shape.
        between: The modules that ran in between, without those that change nothing in eval mode.
        hint: What the caller says.
        place: Where this is, for messages: ``between 'fc1' and 'fc2'``.

    Raises:
        VerificationError: Where the numbers contradict the hint.
        GraphError: Where no known activation matches, or several do.
    """
    matching: dict[str, Activation] = {}
    for candidate in _candidates(z, x, between, hint):
        if candidate.kind not in matching and matches(candidate, z, x):
            matching[candidate.kind] = candidate
    if len(matching) == 1:
        return next(iter(matching.values()))
    if matching:
        names = ", ".join(map(str, matching.values()))
        raise GraphError(f"{place} the samples fit several activations ({names}): name it with activation=")
    if hint.kind is not None:
        said = str(Activation(hint.kind, {"omega": hint.omega} if hint.omega is not None else {}))
        raise VerificationError(f"{place} the module does not compute {said}, as activation= says")
    types = ", ".join(type(module).__name__ for module in between) or "code of the module's own"
    raise GraphError(f"what runs {place} ({types}) is no pointwise activation that graphws knows")


def matches(activation: Activation, z: Tensor, x: Tensor) -> bool:
    """Whether f(z) = x at every sample, up to rounding."""
    return bool(((activation(z) - x).abs() <= TOLERANCE * (1 + x.abs())).all())


def _candidates(z: Tensor, x: Tensor, between: Sequence[nn.Module], hint: Hint) -> Iterator[Activation]:
    if hint.kind is not None:
        yield from _fitted(hint.kind, z, x, hint)
        return
    meant = [of_module(module) for module in between]
    if len(meant) == 1 and meant[0] is not None:
        yield meant[0]
        return
    for name in ACTIVATIONS:
        yield from _fitted(name, z, x, hint)


def _fitted(kind: str, z: Tensor, x: Tensor, hint: Hint) -> Iterator[Activation]:
    """The activation of this kind, its constants read off the samples unless they are given."""
    if kind == "sine":
        yield from (Activation("sine", {"omega": omega}) for omega in _omegas(z, x, hint.omega))
    elif kind == "power":
        exponents = POWERS if hint.exponent is None else (hint.exponent,)
        yield from (Activation("power", {"exponent": exponent}) for exponent in exponents)
    elif kind == "leaky_relu":
        lowest = z.argmin()
        if z.flatten()[lowest] < 0:
            slope = _rounded(float(x.flatten()[lowest] / z.flatten()[lowest]))
            if hint.kind is not None or slope not in (0.0, 1.0):  # those are relu and identity
                yield Activation("leaky_relu", {"negative_slope": slope})
    else:
        yield ACTIVATIONS[kind]


def _omegas(z: Tensor, x: Tensor, given: float | None) -> Iterator[float]:
    """omega of sin(omega z): from the smallest z, where the arcsine is in its branch, then sharper by larger z."""
    if given is not None:
        yield given
        return
    flat_z, flat_x = z.flatten(), x.flatten()
    nonzero = flat_z.abs() > 1e-12
    if not bool(nonzero.any()) or bool((flat_x.abs() > 1).any()):
        return
    smallest = torch.where(nonzero, flat_z.abs(), torch.inf).argmin()
    omega = math.asin(float(flat_x[smallest])) / float(flat_z[smallest])
    for k in flat_z.abs().argsort()[:: max(1, flat_z.numel() // 256)].tolist():
        at, value = float(flat_z[k]), float(flat_x[k])
        slope = math.cos(omega * at)
        step = value - math.sin(omega * at)
        if abs(slope) > 0.5 and abs(step) < 0.25 and at != 0.0:
            omega += step / slope / at  # one step of Newton's method in the same branch
    if math.isfinite(omega) and omega != 0.0:
        yield _rounded(omega)
        yield omega


def _rounded(value: float) -> float:
    """To ten digits, because constants in code are short and their estimates are not."""
    return float(f"{value:.10g}")
