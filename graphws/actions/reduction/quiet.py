"""Elements that add the same to everything that reads them, whatever the input: unread, silent and constant ones.

Nothing is known here of layers and norms: an element is *unread* where the slices that read it are zero, *silent* where
its value is 0 for any input, *constant* where it is another number for any input, as
`graphws.actions.reduction.worlds` finds it; where no axis shows the element in the value that is read, what it adds is
followed instead (`graphws.actions.reduction.contributions`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from graphws.actions.reduction.contributions import Stays, absorbed
from graphws.actions.reduction.maps import Step
from graphws.actions.reduction.reading import met_by, shown
from graphws.actions.reduction.rules import inactive_figures, typical
from graphws.actions.reduction.slices import Place, Tensors, places, put, slices
from graphws.actions.reduction.worlds import Worlds
from graphws.graph import NetworkGraph
from graphws.operations.labels import Labels

MULTIPLIERS = ("weight", "scale")
"""Kinds of parameters that values are multiplied by: where such a slice is zero, an element may be constant."""
MOST = 64
"""Elements that no axis shows are looked at one by one, in a set of at most so many."""


def cleaned(graph: NetworkGraph, tensors: Tensors, spaces: Iterable[str], tolerance: float) -> dict[str, Tensor]:
    """The parameters with all slices that count as zero put to zero: those of weights and scales."""
    found = dict(tensors)
    for name in spaces:
        elements = graph.space(name).size
        for place in places(graph, name):
            if graph.parameter(place.parameter).kind in MULTIPLIERS:
                rows = slices(found, place, elements)
                norms = rows.norm(dim=1)
                small = (norms <= tolerance * typical(norms)) & (norms > 0)
                if bool(small.any()):
                    found[place.parameter] = put(found, place, rows.masked_fill(small.unsqueeze(1), 0.0))
    return found


def without(tensors: Tensors, where: Iterable[Place], elements: int, gone: Iterable[int]) -> dict[str, Tensor]:
    """The parameters that read some elements, with the slices that do at zero."""
    found: dict[str, Tensor] = {}
    index = torch.tensor(sorted(gone), dtype=torch.long)
    for place in where:
        if not place.written:
            here = {**tensors, **found}
            rows = slices(here, place, elements).clone()
            rows[index] = 0.0
            found[place.parameter] = put(here, place, rows)
    return found


def quiet(worlds: Worlds, labels: Labels, space: str, tolerance: float) -> tuple[dict[int, Step], str]:
    """The elements of a set that may go as far as their own values are concerned, and why others cannot.

    Args:
        worlds: The network, cleaned.
        labels: The spaces of its values' axes.
        space: The set.
        tolerance: What counts as zero.

    Returns:
        tuple: Steps with their reasons; a reason for elements that are quiet and cannot go, empty where there are none.
    """
    graph = worlds.graph
    tensors = {parameter.name: worlds.known[0][parameter.name] for parameter in graph.parameters}
    where, elements = places(graph, space), graph.space(space).size
    if all(place.written for place in where):
        return {}, ""
    unread, still = inactive_figures(tensors, where, elements)[0], _stillness(graph, tensors, where, elements)
    found = {j: Step("unread", float(unread[j])) for j in range(elements) if unread[j] <= tolerance}
    rest = [j for j in range(elements) if j not in found]
    values = _values(worlds, labels, space, where)
    if values is not None:
        for j in rest:
            parts = [x[j] for x in values]
            if not any(bool(x.isnan().any()) for x in parts):
                nothing = not any(bool(x.any()) for x in parts)
                found[j] = Step("silent" if nothing else "constant", float(still[j]))
        return found, ""
    if elements > MOST:
        return found, ""
    stuck: dict[int, str] = {}
    for j in rest:
        edits = without(tensors, where, elements, [j])
        try:
            folded = absorbed(worlds, edits)
        except Stays as reason:
            if not reason.active:
                stuck[j] = str(reason)
        else:
            found[j] = Step("constant" if set(folded) - set(edits) else "silent", float(still[j]))
    why = f"{len(stuck)} redundant elements had to stay: {next(iter(stuck.values()))}" if stuck else ""
    return found, why


def _stillness(graph: NetworkGraph, tensors: Tensors, where: list[Place], elements: int) -> Tensor:
    """How far each element is from constant, as far as its own slices say: its smallest slice of a weight or scale."""
    least = torch.full((elements,), torch.inf, dtype=torch.float64)
    for place in where:
        if place.written and graph.parameter(place.parameter).kind in MULTIPLIERS:
            norms = slices(tensors, place, elements).norm(dim=1)
            least = torch.minimum(least, norms / typical(norms))
    return torch.where(least.isfinite(), least, 0.0)


def _values(worlds: Worlds, labels: Labels, space: str, where: list[Place]) -> list[Tensor] | None:
    """The values that parameters read from the set, (elements, entries) each, NaN where they vary.

    An element whose slices in the parameter are zero has zeros there.  None where no axis shows the elements.
    """
    graph, elements, found = worlds.graph, worlds.graph.space(space).size, []
    for place in where:
        if place.written:
            continue
        columns = slices({place.parameter: worlds.known[0][place.parameter]}, place, elements)
        idle = ~columns.any(1)
        for _, names in met_by(graph, place.parameter):
            for name, axis in (shown(graph, labels, name, space) for name in names):
                if axis is None:
                    return None
                value = worlds.known[0][name].double()
                if name in worlds.varies:
                    value = value.masked_fill(worlds.varies[name], torch.nan)
                rows = value.movedim(axis, 0).reshape(elements, -1)
                found.append(rows.masked_fill(idle.unsqueeze(1), 0.0))
    return found


def shifted(tensors: Tensors, before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parameters, each shifted as it was shifted in a cleaned network."""
    return {name: tensors[name] + (after[name] - before[name]) for name in after}
