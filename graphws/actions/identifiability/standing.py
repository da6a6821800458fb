"""Where θ stands: identifiable, weakly identifiable, neither, or nobody knows (paper I, definitions 3.4 and 3.5).

A parameter θ is *weakly identifiable* if θ = β(θ̃) for a submodel in which θ̃ is identifiable.  That is decided by
reducing the network: θ̃ is what is left, and θ must be its image, all of it.

* Nothing goes: θ is its own submodel, identifiable where a theorem says so.
* Copies of a neuron are an image where every reader splits between them in one and the same proportion, the shares of
  α*, and where all neurons of the layer have equally many copies with the same shares.  Otherwise a symmetry of θ̃ that
  exchanges neurons is none of θ, and γ of equation 2 does not exist.
* Any other neuron that nothing reads, and one that is constant, must be zero on both sides (remark 5.2).  If what
  writes it is not, every submodel that θ comes from has such a neuron itself, and there it is not identifiable: θ is
  not weakly so.

All submodels are linearly embedded ones, as in paper I's section 5.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from graphws.actions.reduction.constants import constant_figures, layer_of
from graphws.actions.reduction.maps import SpaceMap
from graphws.actions.reduction.result import Reduction
from graphws.actions.reduction.rules import inactive_figures
from graphws.actions.reduction.slices import places
from graphws.graph import Action, Operation, Space, Weights
from graphws.shown import Shown

Word = Literal["identifiable", "weakly identifiable", "not weakly identifiable", "open"]
IDLE = ("unread", "constant")
"""Reasons for which an element goes that must be zero before and behind to come from a submodel."""


@dataclass(frozen=True, repr=False)
class Standing(Shown):
    """What is known of one parameter.

    Attributes:
        word: The verdict.
        reason: Why, for people; empty for ``identifiable``.
    """

    word: Word
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.word}: {self.reason}" if self.reason else self.word


@dataclass(frozen=True, eq=False)
class _Shared(SpaceMap):
    """A map of a space whose α* reads all copies, each by its share.

    Args:
        shares: α*, (reduced, size).
    """

    shares: Tensor | None = None

    @property
    def alpha_star(self) -> Tensor:
        assert self.shares is not None
        return self.shares


def standing_of(weights: Weights, found: Reduction, threshold: float) -> Standing:
    """Whether a parameter is the image of the one that it was reduced to, which must be identifiable.

    Args:
        weights: θ, a batch of one.
        found: Its reduction, in which something went.
        threshold: What counts as zero, relative to a parameter or to a share.
    """
    maps = {}
    for name, one in found.maps.items():
        if one.basis is not None:
            maps[name] = one
            continue
        joined = _joined(weights, one, threshold)
        for removal in one.removals:
            idle = removal.reason in IDLE and int(joined.copies[removal.element]) < 0
            if idle and _written(weights, name, removal.element, threshold):
                return _idle(name, removal.element, removal.reason)
        shares = _shares(weights, found, joined)
        said = _uneven(joined, shares, threshold)
        if said is not None:
            return said
        values = {field: getattr(joined, field) for field in SpaceMap.__dataclass_fields__}
        maps[name] = _Shared(**values, shares=shares)
    image = replace(found, maps=maps).equivalent()
    sizes = ", ".join(f"{name} {after} of {before}" for name, (before, after) in found.sizes().items())
    for name, tensor in weights.items():
        ours, theirs = tensor[0].double(), image[name][0].double()
        if float((ours - theirs).norm()) > threshold * max(float(ours.norm()), float(theirs.norm())):
            return Standing(
                "open",
                f"{name} is not the image of that of the reduced network ({sizes}) by any embedding that was tried; "
                "that of the reduced network computes the same function and is weakly identifiable",
            )
    return Standing("weakly identifiable", f"the image of an identifiable submodel ({sizes})")


def idle_neuron(weights: Weights, activations: Sequence[Operation], threshold: float) -> Standing | None:
    """The verdict on an MLP that has a neuron which is written, and not read or constant; None where it has none.

    It needs no theorem: as the activations are nonlinear and 0 at 0, such a neuron stays one in every submodel, and
    its weights may change while the function stays.
    """
    zero = torch.zeros(1, dtype=torch.float64)
    if any(step.kind == "identity" or abs(float(step(zero))) > 0 for step in activations):
        return None
    graph, tensors = weights.graph, {name: x[0].detach().double() for name, x in weights.items()}
    for space in graph.spaces:
        if not space.moves or space.parent is not None:
            continue
        layer = layer_of(graph, space.name)
        unread, silent = inactive_figures(tensors, places(graph, space.name), space.size)
        constant = torch.full_like(unread, torch.inf) if layer is None else constant_figures(layer, tensors)
        read = (unread > threshold).nonzero().flatten().tolist()
        for reason, figures in (("unread", unread), ("constant", constant)):
            for element in ((figures <= threshold) & (silent > threshold)).nonzero().flatten().tolist():
                if reason == "constant" or _alike(weights, space, element, read, threshold) is None:
                    return _idle(space.name, element, reason)
    return None


def _idle(space: str, element: int, reason: str) -> Standing:
    what = "nothing reads it" if reason == "unread" else "it is constant"
    return Standing(
        "not weakly identifiable",
        f"neuron {element} of {space} is written, though {what}: without it the function is the same (remark 5.2)",
    )


def _slices(weights: Weights, space: str, element: int, *, read: bool) -> list[tuple[str, Tensor]]:
    """What reads, or writes, an element of a space: a slice of each parameter, by the parameter's name."""
    found = []
    for parameter in weights.graph.parameters:
        for k, axis in enumerate(parameter.axes):
            if axis.space == space and (axis.power < 0) is read:
                found.append((parameter.name, weights[parameter.name][0].select(k, element).double().flatten()))
    return found


def _written(weights: Weights, space: str, element: int, threshold: float) -> bool:
    """Whether some weight or bias that writes an element is not zero."""
    return any(
        float(part.norm()) > threshold * float(weights[name][0].double().norm())
        for name, part in _slices(weights, space, element, read=False)
    )


def _read(weights: Weights, space: str, element: int) -> Tensor:
    return torch.cat([part for _, part in _slices(weights, space, element, read=True)])


def _joined(weights: Weights, space: SpaceMap, threshold: float) -> SpaceMap:
    """The map with unread elements that are written as some element that stays is: copies of share zero."""
    assert space.keep is not None
    copies, scale, kept = space.copies.clone(), space.scale.clone(), space.keep.tolist()
    for removal in space.removals:
        if removal.reason == "unread":
            found = _alike(weights, weights.graph.space(space.space), removal.element, kept, threshold)
            if found is not None:
                copies[removal.element], scale[removal.element] = kept.index(found[0]), found[1]
    return replace(space, copies=copies, scale=scale)


def _alike(
    weights: Weights, space: Space, element: int, others: Sequence[int], threshold: float
) -> tuple[int, float] | None:
    """Another element that is written alike, and the allowed factor of this one over it; None where there is none."""
    one = _rows(weights, space.name, element)
    for other in others:
        row = _rows(weights, space.name, other)
        factor = float(one @ row / row.square().sum().clamp_min(torch.finfo(row.dtype).tiny))
        allowed = {
            Action.SIGNED: abs(abs(factor) - 1) <= threshold,
            Action.SCALING: factor > 0,
            Action.MONOMIAL: factor != 0,
        }.get(space.action, abs(factor - 1) <= threshold)
        if other != element and allowed and float((one - factor * row).norm()) <= threshold * float(one.norm()):
            return other, factor
    return None


def _rows(weights: Weights, space: str, element: int) -> Tensor:
    return torch.cat([part for _, part in _slices(weights, space, element, read=False)])


def _shares(weights: Weights, found: Reduction, space: SpaceMap) -> Tensor:
    """α*: the factor by which each copy is read, of what reads the neuron of the reduced network."""
    shares = torch.zeros(space.reduced, space.size, dtype=torch.float64)
    whole = found.equivalent()
    assert space.keep is not None
    for element, of in enumerate(space.copies.tolist()):
        if of >= 0:
            wanted = _read(whole, space.space, int(space.keep[of]))
            shares[of, element] = wanted @ _read(weights, space.space, element) / wanted.square().sum()
    return shares


def _uneven(space: SpaceMap, shares: Tensor, threshold: float) -> Standing | None:
    """Why no symmetry of the reduced network that exchanges neurons is one of the whole; None where it is."""
    counts = [int((space.copies == k).sum()) for k in range(space.reduced)]
    if min(counts) != max(counts):
        many = f"from {min(counts)} to {max(counts)} copies"
        return Standing(
            "not weakly identifiable",
            f"neurons of {space.space} have {many}, so that no symmetry of the layer exchanges them; the reduced "
            "network is identifiable",
        )
    values = (shares * space.alpha.mT).sum(0)  # a copy's share, whatever its sign or scale
    sorted_shares = torch.stack([values[space.copies == k].sort().values for k in range(space.reduced)])
    if float((sorted_shares - sorted_shares[0]).abs().max()) > threshold * max(1.0, float(values.abs().max())):
        return Standing("open", f"copies of neurons of {space.space} are read in different proportions")
    return None
