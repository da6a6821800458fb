"""What an analysis says: the action on every space, its figures beside those of decoys, and a verdict in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import networkx as nx
from torch import Tensor

from graphws.actions.analysis.quotient import Orbits, mark_orbits, orbits_of, quotient
from graphws.actions.identifiability import IdentifiabilityReport
from graphws.actions.identifiability.adjunction import Adjunction
from graphws.actions.measures.layer_errors import LayerFigures, Relabelled
from graphws.actions.measures.residuals import mark_residuals, parameter_errors, residuals
from graphws.actions.measures.streams import OwnAction
from graphws.actions.reduction import Reduction
from graphws.actions.verdict.verdict import Verdict
from graphws.errors import UsageError
from graphws.finite import finite
from graphws.graph import GroupElement, LinearMap, Weights, to_networkx
from graphws.graph.element import SpaceElement
from graphws.shown import Shown


@dataclass(frozen=True, eq=False, repr=False)
class Actions(Shown):
    """How a group on data acts inside a network.

    Attributes:
        group: Name of the group.
        words: Its elements as products of generators.
        table: Its multiplication table.
        elements: For each element g, ρ(g) on all spaces: ``elements[g].act(weights)`` is close to the weights.
        layers: Figures, layer by layer; the last is the output's.
        end_to_end: Relative error of the function; None without probes.
        on_random_inputs: The same on random inputs, probes or not; None where the network could not be run.
        origin: Which start and refinement gave the answer.
        probes: Number of probes; 0 for weights alone.
        decoy_end_to_end: The decoys' end-to-end errors.
        verdict: The conclusion.
        network: The network that the elements act on: the one given, or its picture view if it convolves.
        identifiability: Which theorem covers the network, and which of its conditions hold.
        adjunction: Whether the group acts on parameters as theorem 4.1 asks (equations 5 and 6).
        note: What hindered the analysis: why the network was not run, where the group's move stops, or how little it
            moves the probes.
        reduction: What was taken out of the network given before the search; None where nothing was.  The elements act
            on the reduced network, and ``reduction.lift(element)`` on the one given.
        streams: The own action of every weight on a space that several write, as a residual stream.
    """

    group: str
    words: tuple[str, ...]
    table: Tensor
    elements: tuple[GroupElement, ...]
    layers: tuple[LayerFigures, ...]
    end_to_end: float | None
    on_random_inputs: float | None
    origin: str
    probes: int
    verdict: Verdict
    decoy_end_to_end: Mapping[str, float] = field(default_factory=dict)
    network: Weights | None = None
    identifiability: IdentifiabilityReport | None = None
    note: str = ""
    reduction: Reduction | None = None
    adjunction: Adjunction | None = None
    streams: tuple[OwnAction, ...] = ()

    @property
    def generators(self) -> dict[str, GroupElement]:
        """ρ of every generator, by its name."""
        return {w: e for w, e in zip(self.words, self.elements, strict=True) if w != "1" and " " not in w}

    def orbits(self) -> dict[str, Orbits]:
        """The orbits of neurons under ρ, for every space on which no matrix acts."""
        graph = self.elements[0].graph
        matrices = {name for e in self.elements for name, m in e.maps.items() if isinstance(m, LinearMap)}
        plain = [
            GroupElement(graph, {name: m for name, m in e.maps.items() if name not in matrices}) for e in self.elements
        ]
        return {name: found for name, found in orbits_of(graph, plain).items() if name not in matrices}

    def quotient(self) -> Weights:
        """The network folded along the action, one neuron an orbit; see `graphws.actions.analysis.quotient`.

        Raises:
            GraphError: Where a matrix acts, or elements of nested spaces are moved.
        """
        return quotient(self._network(), self.elements)

    def to_networkx(self) -> nx.MultiDiGraph:
        """The network neuron by neuron; nodes carry their ``orbit``, its ``orbit_size`` and their ``ratio`` in it.

        Nodes of spaces on which a matrix acts have no orbit.  Weights carry their ``residual``, how much the action
        changes them: 0 everywhere for an exact automorphism (see `graphws.actions.measures.residuals`).
        """
        network = self._network()
        view = to_networkx(network)
        mark_orbits(view, self.orbits())
        mark_residuals(view, residuals(network, self.elements))
        return view

    def typed_networkx(self) -> nx.MultiDiGraph:
        """The typed graph with the action on it: an automorphism, with how far it is from exact.

        Spaces carry their number of ``orbits`` and the ``k_error`` of the layer that writes them, parameters their
        ``error``; None where there is none to tell.
        """
        network = self._network()
        view, orbits, layers = to_networkx(network.graph), self._orbits, {layer.space: layer for layer in self.layers}
        errors = parameter_errors(network, self.elements)
        for _, node in view.nodes(data=True):
            if node["node"] == "space":
                found, layer = orbits.get(node["name"]), layers.get(node["name"])
                node.update(orbits=found and found.count, k_error=layer and layer.k_error)
            else:
                node["error"] = errors[node["name"]]
        return view

    def _network(self) -> Weights:
        if self.network is None:
            raise UsageError("this result was made without its network, so there is nothing to fold or to draw")
        return self.network

    def layer(self, space: str) -> LayerFigures:
        """The figures of one space."""
        return next(layer for layer in self.layers if layer.space == space)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "verdict": self.verdict.text,
            "outcome": self.verdict.outcome,
            "breaks_at": list(self.verdict.breaks_at),
            "trivial_on": list(self.verdict.trivial),
            "group": self.group,
            "elements": list(self.words),
            "end_to_end": _number(self.end_to_end),
            "end_to_end_on_random_inputs": _number(self.on_random_inputs),
            "decoy_end_to_end": {name: _number(value) for name, value in self.decoy_end_to_end.items()},
            "probes": self.probes,
            "note": self.note,
            "reduced": {} if self.reduction is None else self.reduction.sizes(),
            "origin": self.origin,
            "identifiability": None if self.identifiability is None else _number(self.identifiability.to_dict()),
            "adjunction": None if self.adjunction is None else self.adjunction.to_dict(),
            "layers": [self._layer(layer) for layer in self.layers],
            "streams": [_number(asdict(own)) for own in self.streams],
            "parameters": self._parameter_errors(),
        }

    def _layer(self, layer: LayerFigures) -> dict[str, Any]:
        rival = layer.best_rival
        return {
            "space": layer.space,
            "size": layer.size,
            "action": layer.action,
            "outcome": ({**self.verdict.layers, **self.verdict.ends}).get(layer.space, ""),
            "breaks": layer.space in self.verdict.breaks_at,
            "trivial": layer.trivial,
            "k_error": _number(layer.k_error),
            "weight_error": _number(layer.weight_error),
            "cumulative_error": _number(layer.cumulative),
            "gl_error": _number(layer.gl_error),
            "gl_defect": _number(layer.gl_defect),
            "nu": _number(layer.nu),
            "nu_low": _number(layer.nu_low),
            "defect": _number(layer.defect),
            "matched": _number(layer.matched),
            "carried": _number(layer.carried),
            "unexplained": _number(layer.unexplained),
            "unmatched": _number(layer.unmatched),
            "negated_copies": _number(layer.negated),
            "orbits": self._orbit_sizes(layer.space),
            "generators": {key: map_to_dict(e.maps.get(layer.space)) for key, e in self.generators.items()},
            "categories": {key: dict(counts) for key, counts in layer.categories.items()},
            "decoy_k_error": _number(rival.k_error) if rival else None,
            "decoy_matched": _number(rival.matched) if rival else None,
            "decoy_carried": _number(rival.carried) if rival else None,
            "noise_error": _number(layer.noise),
            "relabelled": _relabelled(layer.relabelled),
            "relabelled_backward": _relabelled(layer.backward),
            "decoys_act_on": None if rival is None else "weights" if rival.weights else "inputs",
            "decoys": {
                name: {"k_error": _number(r.k_error), "matched": _number(r.matched), "carried": _number(r.carried)}
                for name, r in layer.rivals.items()
            },
        }

    def _parameter_errors(self) -> dict[str, float | None]:
        """By how much the action changes each parameter; nothing where the network is not at hand."""
        if self.network is None:
            return {}
        return {name: _number(error) for name, error in parameter_errors(self.network, self.elements).items()}

    def _orbit_sizes(self, space: str) -> dict[str, int] | None:
        """How many orbits of each size there are; None where a matrix acts."""
        found = self._orbits.get(space)
        if found is None:
            return None
        sizes = found.sizes.tolist()
        return {str(size): sizes.count(size) for size in sorted(set(sizes))}

    @cached_property
    def _orbits(self) -> dict[str, Orbits]:
        return self.orbits()

    def to_json(self) -> str:
        """JSON text, indented; numbers that are not finite become null."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    @property
    def hidden_by_streams(self) -> tuple[OwnAction, ...]:
        """The weights that match more by themselves than all that write their stream do together, and than chance."""
        return tuple(own for own in self.streams if own.matched > max(own.all_matched, own.chance))

    def __str__(self) -> str:
        return "\n".join([self.verdict.text, *(f"{own}." for own in self.hidden_by_streams)])


def _relabelled(evidence: Relabelled | None) -> dict[str, Any] | None:
    """A layer's weights beside relabelled decoys."""
    if evidence is None:
        return None
    return {
        "error": _number(evidence.error),
        "least_of_decoys": _number(evidence.least),
        "decoys": len(evidence.decoys),
        "p_value": _number(evidence.p_value),
    }


def map_to_dict(element: SpaceElement | None) -> dict[str, Any] | None:
    """What a generator does to a space: x'[i] = scales[i] · x[places[i]], or x' = matrix · x."""
    if element is None:
        return None
    if isinstance(element, LinearMap):
        return {"matrix": [[_number(value) for value in row] for row in element.weight.tolist()]}
    scales = None if element.scale is None else [_number(value) for value in element.scale.tolist()]
    return {"places": element.perm.tolist(), "scales": scales}


def _number(value: Any) -> Any:
    """A figure, or plain data with figures, for JSON."""
    return finite(value, digits=6)
