"""A graph neural network on neurons: messages along weights, both ways, by PyTorch Geometric.

The general remedy for graphs, applied to networks as graphs of their neurons (compare Kofinas et al., "Graph Neural
Networks for Learning Equivariant Representations of Neural Networks", 2024): what a neuron receives does not depend on
the order in which its edges are listed, so that neurons may be relabelled.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from graphws.errors import UsageError
from graphws.graph import NetworkGraph, Weights
from graphws.layers.keys import state_key
from graphws.models.given import given_network
from graphws.models.neuron_graph import NETWORK, Edges, NeuronGraph
from graphws.models.readout import BatchNorm, MakeReadout, readout_of, scaled_linear

RATIO = 4
"""Width of the hidden layer of a neuron's update, in widths of a neuron."""
KEPT = 4
"""A free space of at most so many neurons is read neuron by neuron."""


class NeuronGNN(nn.Module):
    """Features of neurons that messages along weights update; then what reads them.

    Law: equivariant to permutations of neurons, those of nested spaces too; with outputs, invariant.

    A neuron starts from the parameters that are its own (biases, scales), mapped, and an embedding: one for all neurons
    of a space that moves, one for each of a free space.  An update reads the neuron and the means of what comes forward
    and what comes back along edges, whose numbers each kind of edges maps for itself.

    Args:
        graph: Graph of the networks.
        outputs: Length of the output; or what makes the module that reads the pooled features, from their number; None:
            networks of the same graph, each entry by a perceptron on the neurons that it joins and itself.
        layers: Updates.
        width: Features of a neuron.
        free: Whether inputs and outputs are ``neurons``, or ``channels`` of the neurons next to them.
        dropout: Share of an update set to zero in training.
        networks: How many networks are returned for one, where networks are.
        init_scale: Factor on the initial weights of the last layer where networks are returned.

    Shapes:
        Weights (batch) -> (batch, outputs), or Weights (batch · networks), those for one network next to each other.

    Raises:
        UsageError: Where there is no layer, no width or no network to return, and on what `NeuronGraph` refuses.
    """

    def __init__(
        self,
        graph: NetworkGraph,
        outputs: int | MakeReadout | None,
        layers: int = 4,
        width: int = 64,
        free: str = "neurons",
        dropout: float = 0.0,
        networks: int = 1,
        init_scale: float = 1.0,
    ) -> None:
        super().__init__()
        if min(layers, width, networks) < 1:
            what = f"got {layers}, {width} and {networks}"
            raise UsageError(f"a graph network has at least one layer, a width and networks of at least 1; {what}")
        self.neurons = NeuronGraph(graph, free)
        self.start = NeuronStart(self.neurons, width)
        self.layers = nn.ModuleList(NeuronUpdate(self.neurons, width, dropout) for _ in range(layers))
        self.norm = BatchNorm(width)
        self.decoder: EntryDecoder | None = None
        if outputs is None:
            self.decoder = EntryDecoder(self.neurons, width, networks, init_scale)
        else:
            vectors = (count if self._kept(site) else 2 for site, count in self.neurons.sites.items())
            self.head = readout_of(outputs)(width * sum(vectors))

    def _kept(self, site: str) -> bool:
        """Whether the head reads each neuron of a site, and not their mean and maximum."""
        return site == NETWORK or (site in self.neurons.known and self.neurons.sites[site] <= KEPT)

    def forward(self, weights: Weights) -> Tensor | Weights:
        """Updates, pools and reads or decodes; see the class for shapes."""
        weights, names = given_network(self, weights), self.neurons.graph.parameters
        entries = {p.name: self.neurons.features(weights, p.name) for p in names}
        x = self.start(entries, weights.batch)
        for layer in self.layers:
            x = layer(x, entries)
        x = torch.relu(_normal(self.norm, x))
        answer: Tensor | Weights = self.head(self._pool(x)) if self.decoder is None else self.decoder(x, entries)
        return answer

    def _pool(self, x: Tensor) -> Tensor:
        """(neurons, batch, width) -> (batch, numbers)."""
        found: list[Tensor] = []
        for site, part in _by_site(self.neurons, x).items():
            found += part.unbind(0) if self._kept(site) else (part.mean(0), part.amax(0))
        return torch.cat(found, -1)


class NeuronStart(nn.Module):
    """What neurons start from: their parameters, mapped, and an embedding.

    Shapes:
        Entries of all parameters, each (entries, batch, free) -> (neurons, batch, width), site by site.
    """

    def __init__(self, neurons: NeuronGraph, width: int) -> None:
        super().__init__()
        self.neurons = neurons
        self.maps, self.places = nn.ModuleDict(), nn.ParameterDict()
        for site, count in neurons.sites.items():
            length = sum(neurons.layout(name).free for name in neurons.at(site))
            if length:
                self.maps[_key(site)] = nn.Linear(length, width, bias=False)
            self.places[_key(site)] = nn.Parameter(torch.randn(count if site in neurons.known else 1, 1, width))

    def forward(self, entries: Mapping[str, Tensor], batch: int) -> Tensor:
        """The first features."""
        found = []
        for site, count in self.neurons.sites.items():
            place: Tensor = self.places[_key(site)].expand(count, batch, -1)
            own = [entries[name] for name in self.neurons.at(site)]
            found.append(self.maps[_key(site)](torch.cat(own, -1)) + place if own else place)
        return torch.cat(found)


class NeuronUpdate(nn.Module):
    """x + perceptron(x, mean of messages forward, mean of messages back), the same for all neurons.

    Shapes:
        (neurons, batch, width) and the entries of all parameters -> (neurons, batch, width).
    """

    def __init__(self, neurons: NeuronGraph, width: int, dropout: float) -> None:
        super().__init__()
        from graphws.models.neuron_messages import EdgeMessages

        self.neurons, self.send = neurons, EdgeMessages()
        self.maps = nn.ModuleList(
            nn.Linear(1 if edges.parameter is None else neurons.layout(edges.parameter).free, width)
            for edges in neurons.edges
        )
        for number, edges in enumerate(neurons.edges):
            self.register_buffer(f"index{number}", edges.index, persistent=False)
        self.first, self.norm = nn.Linear(3 * width, RATIO * width), BatchNorm(RATIO * width)
        self.last, self.dropout = nn.Linear(RATIO * width, width), nn.Dropout(dropout)

    def forward(self, x: Tensor, entries: Mapping[str, Tensor]) -> Tensor:
        """The features after the messages."""
        joined = torch.cat([x, *self._received(_by_site(self.neurons, x), entries)], -1)
        update = self.last(torch.relu(_normal(self.norm, self.first(joined))))
        result: Tensor = x + self.dropout(update)
        return result

    def _received(self, x: Mapping[str, Tensor], entries: Mapping[str, Tensor]) -> list[Tensor]:
        """Messages that came forward and those that came back; means over edges of a kind, added up over kinds."""
        found: dict[bool, dict[str, Tensor]] = {True: {}, False: {}}
        for number, edges in enumerate(self.neurons.edges):
            receivers = self.neurons.sites[edges.target]
            sums = self.send(x[edges.source], self._mapped(number, edges, entries), self._index(number), receivers)
            mean = sums * (receivers / edges.index.shape[1])
            have = found[edges.forward]
            have[edges.target] = have[edges.target] + mean if edges.target in have else mean
        return [torch.cat([have.get(site, torch.zeros_like(x[site])) for site in x]) for have in found.values()]

    def _mapped(self, number: int, edges: Edges, entries: Mapping[str, Tensor]) -> Tensor:
        like = next(iter(entries.values()))
        raw = like.new_ones(edges.index.shape[1], 1, 1) if edges.parameter is None else entries[edges.parameter]
        mapped: Tensor = self.maps[number](raw)
        return mapped

    def _index(self, number: int) -> Tensor:
        index: Tensor = getattr(self, f"index{number}")
        return index


class EntryDecoder(nn.Module):
    """Networks from neurons: each entry by a perceptron on the neurons that it joins and its own numbers.

    Shapes:
        (neurons, batch, width) and the entries of all parameters -> Weights (batch · networks).
    """

    def __init__(self, neurons: NeuronGraph, width: int, networks: int, init_scale: float) -> None:
        super().__init__()
        self.neurons, self.networks = neurons, networks
        most = max(len(ends) for ends in neurons.ends.values())
        self.ends = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(most))
        self.own, self.last = nn.ModuleDict(), nn.ModuleDict()
        for name, ends in neurons.ends.items():
            free = neurons.layout(name).free
            self.own[state_key(name)] = nn.Linear(free, width)
            self.last[state_key(name)] = scaled_linear(width, networks * free, init_scale)
            for position, end in enumerate(ends):
                self.register_buffer(f"{state_key(name)}_{position}", neurons.neurons(name, end), persistent=False)

    def forward(self, x: Tensor, entries: Mapping[str, Tensor]) -> Weights:
        """The networks."""
        graph, found = self.neurons.graph, {}
        mapped = [_by_site(self.neurons, map_(x)) for map_ in self.ends]
        for name, ends in self.neurons.ends.items():
            hidden = self.own[state_key(name)](entries[name])
            for position, end in enumerate(ends):
                touched: Tensor = getattr(self, f"{state_key(name)}_{position}")
                hidden = hidden + mapped[position][end.site].index_select(0, touched)
            numbers = self.last[state_key(name)](torch.relu(hidden))  # (entries, batch, networks · free)
            layout = self.neurons.layout(name)
            rows = numbers.unflatten(-1, (self.networks, -1)).permute(1, 2, 0, 3).flatten(0, 1)
            found[name] = layout.unfold(rows.reshape(len(rows), *layout.sizes, layout.free), graph.shape(name))
        return Weights(graph, found)


def _key(site: str) -> str:
    """What a site's parameters go by; the network's cannot be a space's."""
    return state_key(site) if site != NETWORK else "network"


def _by_site(neurons: NeuronGraph, x: Tensor) -> dict[str, Tensor]:
    return dict(zip(neurons.sites, x.split(list(neurons.sites.values())), strict=True))


def _normal(norm: nn.Module, x: Tensor) -> Tensor:
    """Batch normalisation over all neurons of all networks."""
    result: Tensor = norm(x.flatten(0, 1)).reshape(x.shape)
    return result
