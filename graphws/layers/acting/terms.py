"""What rule 3 adds on one graph, term by term: from neurons along weights to neurons, and onto the weights' entries.

For a weight W that joins the places i and j (see `graphws.layers.acting.grades.Place`), features h of neurons and
learned matrices M, each its own:

* carry, for each way (`graphws.layers.acting.routes`): h'_i += Σ_j W_ij (M h_j), with the mean size of the sum kept;
* scale, for each place: W'_ij += W_ij (M h_j);
* pair, for each two places: W'_ij += (M h_i) (N h_j), channel by channel.

Weights of one place only are scaled.  Sums over free numbers of W are over all of them, so M is as wide as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Literal

from graphws.graph import NetworkGraph
from graphws.layers.acting.grades import Grading, Place, grading
from graphws.layers.acting.neurons import neurons_of
from graphws.layers.acting.routes import Route, routes
from graphws.messages import NEURON, Message


@dataclass(frozen=True)
class Reading:
    """One learned matrix: features of neurons, mixed for one use.

    Args:
        source: The parameter of the neurons' features.
        place: Where the neurons stand in the weight.
        way: Tells the matrices of one weight apart.
        free: Numbers that it gives for each channel that goes out and each term of a sum.
    """

    source: str
    place: Place
    way: str
    free: int


@dataclass(frozen=True)
class Term:
    """Something that one weight adds to one target.

    Args:
        kind: See `graphws.layers.acting.terms`.
        parameter: The weight.
        target: The parameter that receives.
        letters: The weight's index axes.
        readings: The matrices that it takes: one, or of a pair two.
        beside: How many terms reach the target.
        entries: Free numbers of an entry of the weight, as it comes.
        route: Of a carry.
        words: The term for readers.
    """

    kind: Literal["carry", "scale", "pair"]
    parameter: str
    target: str
    letters: str
    readings: tuple[Reading, ...]
    beside: int
    entries: int
    route: Route | None
    words: str

    def summands(self, channels: tuple[int, int]) -> int:
        """Products that a pair adds up for each number that it gives, so that they are as many as channels come in."""
        return -(-channels[0] // (self.readings[0].free * channels[1])) if self.kind == "pair" else 1

    def shapes(self, channels: tuple[int, int]) -> tuple[tuple[int, int], ...]:
        """Rows and columns of each matrix, for channels that come in and go out."""
        return tuple((channels[0], each.free * self.summands(channels) * channels[1]) for each in self.readings)


def terms(network: NetworkGraph, graph: NetworkGraph, messages: Sequence[Message]) -> tuple[Term, ...]:
    """Every term of the messages.

    Args:
        network: Graph of the networks as they come.
        graph: What a layer works on: parameters that send or receive, free axes reduced, neurons among them.
        messages: Messages via ``weight``.
    """
    kinds = frozenset(target for message in messages for target in message.target)
    return _terms(network.structure, graph, kinds)


@lru_cache(1024)
def _terms(network: NetworkGraph, graph: NetworkGraph, kinds: frozenset[str]) -> tuple[Term, ...]:
    grades, names = grading(network, "permutation"), neurons_of(network)
    weights = {parameter.name for parameter in network.parameters if parameter.kind == "weight"}
    found: list[Term] = []
    if NEURON in kinds:
        ways = [route for route in routes(grades) if route.parameter in weights]
        for route in ways:
            beside = sum(other.target.space == route.target.space for other in ways)
            found.append(_carry(grades, route, names, beside))
    if "weight" in kinds:
        for parameter in graph.parameters:
            if parameter.kind == "weight":
                found += _writes(grades, parameter.name, graph.layout(parameter.name).free, names)
    return tuple(found)


def _carry(grades: Grading, route: Route, names: dict[str, str], beside: int) -> Term:
    reading = Reading(names[route.source.space], route.source, route.way, route.free)
    ends = [_name(grades, route.parameter, place) for place in (route.source, route.target)]
    words = f"{route.parameter} carries {ends[0]} to {ends[1]}"
    target = names[route.target.space]
    return Term("carry", route.parameter, target, route.letters, (reading,), beside, route.free, route, words)


def _writes(grades: Grading, parameter: str, width: int, names: dict[str, str]) -> Iterator[Term]:
    places, letters = grades.places(parameter), grades.letters(parameter)
    entries = grades.graph.layout(parameter).free
    beside = len(places) * (len(places) + 1) // 2
    for number, place in enumerate(places):
        reading = Reading(names[place.space], place, f"*{number}", entries * width)
        words = f"entries of {parameter} times {_name(grades, parameter, place)}"
        yield Term("scale", parameter, parameter, letters, (reading,), beside, entries, None, words)
    for pair in combinations(range(len(places)), 2):
        two = [places[number] for number in pair]
        way = "&".join(map(str, pair))
        readings = tuple(
            Reading(names[place.space], place, f"{way}@{k}", width) for k, place in zip(pair, two, strict=True)
        )
        words = " times ".join(_name(grades, parameter, place) for place in two)
        yield Term("pair", parameter, parameter, letters, readings, beside, entries, None, f"{words} onto {parameter}")


def _name(grades: Grading, parameter: str, place: Place) -> str:
    """The place's space, with its number where the space stands in several."""
    alike = [other.letters for other in grades.places(parameter) if other.space == place.space]
    return place.space if len(alike) == 1 else f"{place.space}[{alike.index(place.letters) + 1}]"
