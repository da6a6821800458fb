"""Architectures: the graphs of networks of one signature each, found once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor, nn

from graphws.checkpoints.conversion import Conversion
from graphws.checkpoints.network_file import is_network_file
from graphws.converting import convert
from graphws.errors import GraphwsError, UsageError, ZooError
from graphws.graph import NetworkGraph, Weights
from graphws.operations import mlp_graph
from graphws.printable import printable
from graphws.shown import Shown
from graphws.zoo.collecting.attributes import Attributes
from graphws.zoo.collecting.entry import Entry, Whole
from graphws.zoo.collecting.folders import files_in
from graphws.zoo.collecting.layout import Layout
from graphws.zoo.collecting.policies import FLAT, unflattened
from graphws.zoo.collecting.signature import Signature, difference
from graphws.zoo.manifest import LONGEST_NAME

Alike = str | Path | Conversion | tuple[nn.Module, object]
"""What says what networks are: a source to convert, its conversion, or a module and example inputs."""
CURE = "say what these networks are with --like NETWORK (a converted file, an .onnx file, a Hugging Face folder)"
MOST_LIKES = 1000


@dataclass(frozen=True, eq=False)
class Like:
    """A network of which others may be.

    Args:
        name: What the architecture will be called.
        graph: Its graph.
        run: Computes its outputs with other weights, where that can be done.
        flat: Whether the networks are lists of numbers, in the order of its state dict.
    """

    name: str
    graph: NetworkGraph
    run: Callable[..., Tensor] | None = None
    flat: bool = False

    def weights(self, states: Mapping[str, Tensor]) -> Weights:
        """Networks from their stacked state dicts; `WeightsError` where they do not fit."""
        if self.flat:
            states = unflattened(states[FLAT], shapes_of(self.graph))
        return Weights.from_stacked(self.graph, states, copy=False)


def likes_of(sources: Sequence[Alike], seed: int = 0) -> list[Like]:
    """The networks that a caller gives as examples.

    Raises:
        GraphwsError: Where one cannot be converted.
    """
    if len(sources) > MOST_LIKES:
        raise UsageError(f"{len(sources)} networks to compare with; at most {MOST_LIKES}")
    found = []
    for number, source in enumerate(each for given in sources for each in _inside(given)):
        name = f"like-{number + 1}"
        generator = torch.Generator().manual_seed(seed)
        if isinstance(source, Conversion):
            made = source
        elif isinstance(source, tuple):
            made = convert(source[0], source[1], generator=generator)  # type: ignore[arg-type]
            name = type(source[0]).__name__
        else:
            if not Path(source).exists():
                raise ZooError(f"{source}: no such file or folder")
            made, name = convert(source, generator=generator), _short(_called(Path(source)))
        found.append(Like(name, made.graph, made.run))
    return found


def _called(path: Path) -> str:
    """What an example is called: its file without the suffix, its folder."""
    return path.name if path.is_dir() else path.stem


def _inside(source: Alike) -> Sequence[Alike]:
    """The networks in a folder of files that say what they are; the source itself where it is no such folder."""
    if isinstance(source, Conversion | tuple) or not Path(source).is_dir():
        return [source]
    files = [file for file in files_in(Path(source)) if file.suffix == ".onnx" or is_network_file(file)]
    return files or [source]


def shapes_of(graph: NetworkGraph) -> dict[str, tuple[int, ...]]:
    """The keys of a graph's state dict with their shapes, each tensor once."""
    shapes: dict[str, tuple[int, ...]] = {}
    for parameter in graph.parameters:
        storage = parameter.storage
        key = storage.key if storage else parameter.name
        shapes.setdefault(key, storage.shape if storage else graph.shape(parameter.name))
    return shapes


def resolve(
    signature: Signature, first: Entry, layout: Layout, attributes: Attributes, likes: Sequence[Like], seed: int = 0
) -> Like:
    """What the networks of a signature are.

    Args:
        signature: Theirs.
        first: The first of them; read again where its own numbers are needed.
        layout: Of the folder.
        attributes: The caller's word on MLPs.
        likes: The caller's examples.
        seed: Of the numeric gate.

    Raises:
        UsageError: Where the caller must say more.
        ZooError: Where nothing describes these networks, in words that begin with the entry's place.
    """
    source = first.source
    generator = torch.Generator().manual_seed(seed)
    if isinstance(source, Whole):
        made = source.convert(generator)
        return _fitting(first, signature, Like(_short(PurePosixPath(first.name).name), made.graph, made.run))
    if FLAT in signature.shapes:
        return _flat(first, signature, likes)
    misses, fitting = [], list[Like]()
    for like in likes:
        missing = difference(signature.shapes, like.graph) or _other_activation(signature, like.graph)
        if missing:
            misses.append(f"unlike {like.name!r}: {missing}")
        elif not any(like.graph == other.graph for other in fitting):
            fitting.append(like)
    if len(fitting) > 1:
        names = " and ".join(repr(like.name) for like in fitting[:3])
        raise ZooError(
            f"{source.place}: could be {names}, whose keys and shapes are the same and whose graphs are not; pack the "
            "networks of each from a folder of their own"
        )
    if fitting:
        return fitting[0]
    if likes and attributes.activation is None:
        more = f" (and {len(misses) - 3} others)" if len(misses) > 3 else ""
        raise ZooError(f"{source.place}: {'; '.join(misses[:3])}{more}; add --like NETWORK for such networks")
    if layout.assumed is not None:
        if "activation" not in dict(signature.stated):
            raise UsageError(f"{source.place}: nothing says its activation: {layout.advice}; or {CURE}")
        given = layout.assumed(source.read(), signature.stated)
        if given is not None:
            found = convert(given[0], given[1], generator=generator)  # type: ignore[arg-type]
            name = "-".join([layout.name, *(value for _, value in signature.stated)])
            return _fitting(first, signature, Like(_short(name), found.graph, found.run))
    stated = dict(signature.stated).get("activation")
    if attributes.activation is None and (stated or layout.activation):
        attributes = replace(attributes, activation=stated or layout.activation)
    return _mlp(source.place, signature, attributes, layout)


def _fitting(first: Entry, signature: Signature, like: Like) -> Like:
    if missing := difference(signature.shapes, like.graph):
        raise ZooError(f"{first.source.place}: its conversion does not hold its numbers: {missing}")
    return like


def _flat(first: Entry, signature: Signature, likes: Sequence[Like]) -> Like:
    """The example with as many numbers."""
    count = signature.shapes[FLAT][0]
    for like in likes:
        if sum(torch.Size(shape).numel() for shape in shapes_of(like.graph).values()) == count:
            return replace(like, flat=True)
    raise ZooError(f"{first.source.place}: a list of {count} numbers, which no file describes; {CURE}")


def _other_activation(signature: Signature, graph: NetworkGraph) -> str:
    """Where the folder says another activation than a graph has, in words."""
    stated = dict(signature.stated).get("activation")
    kinds = {operation.kind.replace("_", "") for operation in graph.operations}
    if stated is None or stated.lower().replace("_", "") in kinds:
        return ""
    return f"the folder says that it has {stated[:40]!r}, which that has not"


def _mlp(place: str, signature: Signature, attributes: Attributes, layout: Layout) -> Like:
    """An MLP whose layers stand in the state dict in order."""
    shapes = signature.shapes
    weights = [key for key in shapes if key.endswith("weight")]
    biases = [key for key in shapes if key.endswith("bias")]
    for key, shape in shapes.items():
        wanted = 2 if key in weights else 1 if key in biases else None
        if len(shape) != wanted:
            axes = "x".join(map(str, shape)) or "no axes"
            raise ZooError(f"{place}: not an MLP of linear layers: {key!r} has shape {axes}; {CURE}")
        if "float" not in signature.types[key]:
            raise ZooError(f"{place}: {key!r} is of type {signature.types[key]}; weights are floats")
    if not weights:
        raise ZooError(f"{place}: not an MLP of linear layers: it has no weights; {CURE}")
    widths = [shapes[weights[0]][1], *(shapes[key][0] for key in weights)]
    for below, key in pairwise(weights):
        if shapes[key][1] != shapes[below][0]:
            raise ZooError(
                f"{place}: not an MLP: {key!r} reads {shapes[key][1]} numbers, {below!r} gives {shapes[below][0]}; "
                f"{CURE}"
            )
    if biases and len(biases) != len(weights):
        raise ZooError(
            f"{place}: {len(weights)} weights and {len(biases)} biases; every layer has one, or none has; {CURE}"
        )
    prefixes = [key.removesuffix("weight").removesuffix(".") for key in weights]
    if "" in prefixes:
        raise ZooError(f"{place}: the keys need a layer's name, as in '0.weight'; got 'weight'")
    try:
        hidden = attributes.hidden(len(widths) - 2)
    except UsageError as error:
        raise UsageError(f"{place}: {error}" + (f"; {layout.advice}" if layout.advice else "")) from None
    try:
        graph = mlp_graph(widths, activation=hidden, bias=bool(biases), keys=prefixes)
        Weights.from_state_dict(graph, {key: torch.empty(shape, device="meta") for key, shape in shapes.items()})
    except GraphwsError as error:
        raise ZooError(f"{place}: not an MLP: {error}") from error
    return Like("-".join(map(str, widths)), graph)


def _short(name: str) -> str:
    """A name for an architecture."""
    return (printable(name) or "network")[: LONGEST_NAME - 40]


@dataclass(frozen=True, eq=False, repr=False)
class Architecture(Shown):
    """An architecture of the zoo: the networks of one graph and of the same types.

    Args:
        name: In the table.
        graph: The graph.
        types: The type of each key.
        likes: By the digest of each signature of its networks, how their weights are made.
    """

    name: str
    graph: NetworkGraph
    types: Mapping[str, str]
    likes: dict[str, Like]


def gathered(found: Sequence[tuple[Signature, Like]]) -> list[Architecture]:
    """The architectures of signatures: those of equal graphs and types are one; each has a name of its own."""
    made: list[Architecture] = []
    for signature, like in found:
        types = dict(sorted(signature.types.items()))
        same = next((each for each in made if each.types == types and each.graph == like.graph), None)
        if same is None:
            same = Architecture(_unused(like.name, set(types.values()), made), like.graph, types, {})
            made.append(same)
        same.likes[signature.digest] = like
    return made


def _unused(name: str, types: set[str], made: Sequence[Architecture]) -> str:
    taken = {each.name for each in made}
    if name in taken and len(types) == 1:
        name = f"{name}-{next(iter(types))}"
    number, plain = 2, name
    while name in taken:
        name, number = f"{plain}-{number}", number + 1
    return name
