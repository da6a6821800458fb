"""Conversions: networks made to deceive, and claims made wrong, against what the gate says of them.

*Traps* (tests/converters/traps.py) go through both front ends.  *Wrong claims* are right ones of random networks with
one thing spoilt: a rule, or one space.  Whether a VERIFIED is false is found without the gate: the network's own code
runs with its weights moved by random elements of the claimed group, on inputs of several kinds.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import random
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor, nn
from torch.func import functional_call

from graphws.checkpoints.conversion import Conversion
from graphws.errors import GraphError, GraphwsError, VerificationError
from graphws.graph import Action, GroupElement, NetworkGraph
from graphws_converters.analysis.engine import Engine
from graphws_converters.analysis.interpreter import analyse
from graphws_converters.assembly.assembly import assemble
from graphws_converters.fronts.recorder import record_program
from graphws_converters.modules import conversion
from graphws_converters.rules import RULES
from graphws_converters.rules.registry import Call, Entry, NotCovered, Result
from scripts.trust.figures import Part
from tests.converters import traps
from tests.converters.architectures import build
from tests.converters.random_networks import RandomNetwork

LEAST = 0.01
"""A relative difference of outputs that makes a VERIFIED false."""
DRAWS = 3
OUTCOMES = ("refused", "UNVERIFIED", "smaller group", "with a note", "true", "false")
COLUMNS = ("what is tried", "tried", "refused", "UNVERIFIED", "VERIFIED of a smaller group", "VERIFIED with a note",
           "VERIFIED and true", "VERIFIED and false")  # fmt: skip
QUICK = ("MLP", "SIREN", "CNN + flatten", "ResNet, option B", "ViT", "GroupNorm, grouped convolution")
"""Architectures whose claims are spoilt, too."""


# --- the independent check


def numbers_in(outputs: Any) -> list[Tensor]:
    """Every number in outputs of whatever type, as tensors."""
    if isinstance(outputs, Tensor):
        dense = outputs.dequantize() if outputs.is_quantized else outputs
        dense = dense.to_padded_tensor(0.0) if dense.is_nested else dense
        dense = dense if dense.layout == torch.strided else dense.to_dense()
        return [dense if dense.is_complex() else dense.double(), *numbers_in(dict(vars(outputs)))]
    if outputs is None or isinstance(outputs, bool | int | float | complex | np.generic):
        return [torch.as_tensor(0.0 if outputs is None else complex(outputs))]
    if isinstance(outputs, np.ndarray):
        return [torch.as_tensor(outputs).double()]
    if isinstance(outputs, str | bytes):
        return [torch.tensor(list(outputs.encode() if isinstance(outputs, str) else outputs)).double()]
    if isinstance(outputs, Mapping):
        return [x for key, value in outputs.items() for x in (*numbers_in(key), *numbers_in(value))]
    if isinstance(outputs, set | frozenset):
        outputs = sorted(outputs)
    if isinstance(outputs, slice):
        outputs = (outputs.start, outputs.stop, outputs.step)
    if callable(outputs) and not isinstance(outputs, nn.Module):
        outputs = outputs()
    if isinstance(outputs, Iterable):
        return [x for item in outputs for x in numbers_in(item)]
    return numbers_in(dict(vars(outputs)) | {"arguments": getattr(outputs, "args", ())})


def apart(before: Sequence[Tensor], after: Sequence[Tensor]) -> float:
    """The largest difference of a number, relative to how far the numbers of its tensor lie apart."""
    if [x.shape for x in before] != [x.shape for x in after]:
        return float("inf")
    worst = 0.0
    for x, y in zip(before, after, strict=True):
        finite = torch.isfinite(x) & torch.isfinite(y)
        if not finite.any():
            continue
        x, y = x[finite], y[finite]
        spread, size = float((x - x.mean()).abs().max()), float(x.abs().max())
        worst = max(worst, float((x - y).abs().max()) / (spread if spread > 1e-12 * size else size or 1.0))
    return worst


def kinds_of(inputs: tuple[Tensor, ...]) -> Iterator[tuple[Tensor, ...]]:
    """The inputs and others of ordinary size: of another sign, size, order and kind."""
    generator = torch.Generator().manual_seed(11)

    def each(function: Callable[[Tensor], Tensor]) -> tuple[Tensor, ...]:
        return tuple(function(x) if x.is_floating_point() else x for x in inputs)

    yield inputs
    for size in (-1, 0.1, 3, 30):
        yield each(lambda x, s=size: s * torch.randn(x.shape, generator=generator, dtype=x.dtype))
    yield each(torch.zeros_like)
    yield each(torch.ones_like)
    yield each(lambda x: x.round())
    yield each(lambda x: x.flip(0))


def falsity(found: Conversion, module: nn.Module, inputs: Iterable[tuple[Tensor, ...]], seed: int = 0) -> float:
    """How far elements of a claimed group move a module's outputs, at most.

    Args:
        found: The claim: all permutations, and those richer actions that are said to be confirmed.
        module: Its source, in float64.
        inputs: What it runs on; what it refuses is left out.
        seed: Of the elements.
    """
    assert found.weights is not None
    generator, weights = torch.Generator().manual_seed(seed), found.weights.to(dtype=torch.float64)
    elements = [element for _ in range(DRAWS) for element in _claimed(found, generator)]
    states = [element.act(weights).to_state_dict() for element in elements]
    worst, own = 0.0, weights.to_state_dict()
    for given in inputs:
        try:
            before = _run(module, own, given)
        except Exception:  # made for other inputs than these
            continue
        worst = max([worst, *(apart(before, _run(module, state, given)) for state in states)])
    return worst


def _claimed(found: Conversion, generator: torch.Generator) -> Iterator[GroupElement]:
    yield found.graph.group().random(generator, moving=True)
    confirmed = [check.space for check in found.actions if check.verdict == "confirmed"]
    if confirmed:
        rich = found.graph.group().random(generator, actions="rich", moving=True)
        yield from (rich.alone(space) for space in confirmed)


def _run(module: nn.Module, state: Mapping[str, Tensor], inputs: tuple[Tensor, ...]) -> list[Tensor]:
    torch.manual_seed(0)
    copies = {name: tensor.clone() for name, tensor in state.items()}
    with torch.no_grad():
        return numbers_in(functional_call(module, copies, tuple(x.clone() for x in inputs)))


# --- traps


def outcome_of(
    convert: Callable[[], Conversion],
    module: nn.Module,
    inputs: Iterable[tuple[Tensor, ...]],
    note: str | None,
    whole: float,
) -> str:
    """What became of one claim, one of `OUTCOMES`.

    Args:
        convert: Makes it.
        module: Its source, in float64.
        inputs: To run the source on.
        note: What has to be said where the claim does not hold for all of them; None where nothing excuses it.
        whole: log10 of the order of the group of all that could be claimed.
    """
    try:
        found = convert()
    except GraphwsError:
        return "refused"
    if not found.verified:
        return "UNVERIFIED"
    if note is not None:
        return "with a note" if any(re.search(note, text) for text in found.notes) else "false"
    if falsity(found, module, inputs) > LEAST:
        assert found.verification is not None
        return "with a note" if found.verification.unseen else "false"
    return "smaller group" if found.graph.log10_order() < whole - 1e-9 else "true"


def _trap(name: str, front: Any, seed: int) -> str:
    trap = traps.TRAPS[name]
    net, whole = trap.build(), _whole(trap.activation)
    given = [*kinds_of((traps.example(),)), *((x,) for x in traps.ringing(net))]
    return outcome_of(lambda: _convert(trap.build(), (traps.example(),), front, seed), net, given, trap.note, whole)


@functools.cache
def _whole(activation: Callable[[Tensor], Tensor]) -> float:
    """log10 of the order of the group of a trap's plain twin."""
    plain = next(trap for trap in traps.TRAPS.values() if trap.activation is activation).plain()
    return _convert(plain, (traps.example(),), "recorder", 0).graph.log10_order()


def _convert(module: nn.Module, inputs: tuple[Any, ...], front: Any, seed: int) -> Conversion:
    return conversion.convert_module(module, inputs, generator=torch.Generator().manual_seed(seed), front=front)


# --- claims made wrong

Spoil = Callable[[NetworkGraph, random.Random], NetworkGraph | None]


def richer(graph: NetworkGraph, rng: random.Random) -> NetworkGraph | None:
    """A space's action made larger: its rows follow it, its columns follow the inverse."""
    larger = {Action.PERMUTATION: [*Action][1:], Action.SIGNED: [Action.MONOMIAL], Action.SCALING: [Action.MONOMIAL],
              Action.MONOMIAL: [Action.LINEAR], Action.LINEAR: []}  # fmt: skip
    spaces = [s for s in graph.spaces if s.moves and larger[s.action] and not s.parent and s.size > 1]
    space = rng.choice(spaces) if spaces else None
    if space is None or any(s.parent == space.name for s in graph.spaces):
        return None
    parameters = []
    for parameter in graph.parameters:
        powers = [axis.power or (1 if k == 0 else -1) for k, axis in enumerate(parameter.axes)]
        axes = tuple(
            replace(axis, power=power) if axis.space == space.name else axis
            for axis, power in zip(parameter.axes, powers, strict=True)
        )
        parameters.append(replace(parameter, axes=axes))
    action = rng.choice(larger[space.action])
    spaces = [replace(s, action=action) if s is space else s for s in graph.spaces]
    return replace(graph, spaces=tuple(spaces), parameters=tuple(parameters))


def loosened(graph: NetworkGraph, rng: random.Random) -> NetworkGraph | None:
    """A free space declared a set: an order that does not matter, it says."""
    used = {axis.space for parameter in graph.parameters for axis in parameter.axes}
    spaces = [s for s in graph.spaces if s.kind == "free" and s.size > 1 and s.name in used and not s.parent]
    if not spaces:
        return None
    space = rng.choice(spaces)
    return replace(graph, spaces=tuple(replace(s, kind="set") if s is space else s for s in graph.spaces))


def torn(graph: NetworkGraph, rng: random.Random) -> NetworkGraph | None:
    """One axis of a space given a space of its own: it is permuted without the others."""
    places = _places(graph)
    plain = [s for s in graph.spaces if s.moves and not s.parent and s.size > 1 and len(places.get(s.name, ())) > 1]
    plain = [s for s in plain if not any(other.parent == s.name for other in graph.spaces)]
    if not plain:
        return None
    space = rng.choice(plain)
    return _renamed(graph, {rng.choice(places[space.name]): "torn"}, (replace(space, name="torn"),))


def crossed(graph: NetworkGraph, rng: random.Random) -> NetworkGraph | None:
    """Two spaces of one size that take each other's place on one axis each."""
    places = _places(graph)
    sets = [s for s in graph.spaces if s.moves and not s.parent and s.size > 1 and s.name in places]
    pairs = [(a, b) for a in sets for b in sets if a.name < b.name and a.size == b.size]
    pairs = [pair for pair in pairs if not any(other.parent in {s.name for s in pair} for other in graph.spaces)]
    if not pairs:
        return None
    one, two = rng.choice(pairs)
    return _renamed(graph, {rng.choice(places[one.name]): two.name, rng.choice(places[two.name]): one.name}, ())


Place = tuple[str, int]


def _places(graph: NetworkGraph) -> dict[str, list[Place]]:
    places: dict[str, list[Place]] = {}
    for parameter in graph.parameters:
        for k, axis in enumerate(parameter.axes):
            if not axis.inner:
                places.setdefault(axis.space, []).append((parameter.name, k))
    return places


def _renamed(graph: NetworkGraph, names: Mapping[Place, str], more: tuple[Any, ...]) -> NetworkGraph:
    parameters = []
    for parameter in graph.parameters:
        axes = tuple(
            replace(axis, space=names.get((parameter.name, k), axis.space)) for k, axis in enumerate(parameter.axes)
        )
        parameters.append(replace(parameter, axes=axes))
    return replace(graph, spaces=(*graph.spaces, *more), parameters=tuple(parameters))


SPACES: dict[str, Spoil] = {"an action made richer": richer, "a free space declared a set": loosened,
                            "one axis of a space torn off": torn, "two spaces crossed": crossed}  # fmt: skip
RULE_FORGOTTEN, RULE_SWAPPED = "a rule that forgets", "a rule of another function"
CLAIMS = (*SPACES, RULE_FORGOTTEN, RULE_SWAPPED)


def _forgets(e: Engine, call: Call) -> Result:
    """The same entries as the first tensor of the same shape, whatever the operation."""
    given = [e.plain(x) for x in call.tensors()]
    for shape in call.shapes:
        if not any(x.shape == shape for x in given):
            raise NotCovered("nothing of this shape")
    return [e.tensor(next(x for x in given if x.shape == shape).legs) for shape in call.shapes]


def _network(rng: random.Random) -> tuple[nn.Module, tuple[Any, ...]]:
    if rng.random() < 0.15:
        module, inputs = build(rng.choice(QUICK))
        return module.double().eval(), tuple(x.double() if x.is_floating_point() else x for x in inputs)
    network = RandomNetwork(rng.randrange(1 << 30))
    return network.double(), (network.example.double(),)


def _wrong(kind: str, seed: int) -> str | None:
    """What became of one spoilt claim; None where the network has nothing to spoil in this way."""
    rng = random.Random(f"{kind} {seed}")
    module, inputs = _network(rng)
    program = record_program(module, inputs, {})
    wrong = None
    if kind in SPACES:
        with contextlib.suppress(GraphError):  # a graph that cannot be is no claim
            right = assemble(analyse(program), conversion._stored(module))
            spoilt = SPACES[kind](right.graph, rng)
            wrong = None if spoilt is None else replace(right, graph=spoilt)
        if wrong is None:
            return None
    rules = {}
    if kind not in SPACES:
        names = sorted({node.op for node in program.nodes} & set(RULES))
        other = RULES[rng.choice(["tanh", "relu", "neg", "square", "abs"])]
        name = rng.choice(names)
        rules = {name: Entry(_forgets, powers=True) if kind == RULE_FORGOTTEN else other}
    patches = [mock.patch.object(conversion, "_as_mlp", return_value=None), mock.patch.dict(RULES, rules)]
    if wrong is not None:
        patches.append(mock.patch.object(conversion, "assemble", return_value=wrong))
    with contextlib.ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch)
        try:
            found = _convert(module, inputs, "recorder", seed)
        except VerificationError as error:
            return "refused" if _said_no(error) else None
        except GraphwsError:
            return None
    return outcome_of(lambda: found, module, kinds_of(inputs), None, 0.0)


def _said_no(error: VerificationError) -> bool:
    """Whether the gate refused a claim, not a network."""
    return "changes the outputs" in str(error) or "refute" in str(error)


# --- the part


@dataclass(frozen=True)
class Task:
    """One thing to try: a trap by its name, or a way to spoil a claim."""

    kind: str
    name: str
    front: str
    seed: int


def tasks_of(number: int) -> list[Task]:
    """So many: every trap with both front ends, then wrong claims of all kinds in turn."""
    found = [Task(trap.kind, name, front, 0) for name, trap in traps.TRAPS.items() for front in ("auto", "recorder")]
    found = found[:number]
    rest = range(number - len(found))
    return [*found, *(Task(CLAIMS[k % len(CLAIMS)], "", "recorder", k // len(CLAIMS)) for k in rest)]


def tried(task: Task) -> tuple[str, str]:
    """The kind of a task, and its outcome."""
    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)  # torch.export tells at length why it gives up
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if task.name:
            return task.kind, _trap(task.name, task.front, task.seed)
        for attempt in range(100):
            outcome = _wrong(task.kind, 1000 * task.seed + attempt)
            if outcome is not None:
                return task.kind, outcome
    raise RuntimeError(f"no network has {task.kind!r}")


def run(number: int, jobs: int) -> tuple[Sequence[str], Sequence[Sequence[str | int]]]:
    """Tries so many; one row a kind."""
    tasks = tasks_of(number)
    counts: dict[str, Counter[str]] = {}
    with Progress() as progress, ProcessPoolExecutor(jobs) as pool:
        bar = progress.add_task("conversions", total=len(tasks))
        for kind, outcome in pool.map(tried, tasks) if jobs > 1 else map(tried, tasks):
            counts.setdefault(kind, Counter())[outcome] += 1
            progress.advance(bar)
    return COLUMNS, rows_of(counts)


def rows_of(counts: Mapping[str, Mapping[str, int]]) -> list[list[str | int]]:
    """A row for each kind, and their sum."""
    total = Counter[str]()
    for outcomes in counts.values():
        total.update(outcomes)
    every = {**counts, "all": total}
    return [[kind, sum(c.values()), *(c.get(outcome, 0) for outcome in OUTCOMES)] for kind, c in every.items()]


PART = Part(2000, run)
