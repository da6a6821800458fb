"""From a module to a graph: trace it, read the axes off the trace, and put the result to the test.

Nothing is taken from names.  The caller's module is never touched: a copy in eval mode is traced and tried, in float64
where it can run there.  Weights on the meta device can be analysed but not tried; the conversion then says UNVERIFIED.
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils import _pytree as pytree

from graphws.checkpoints.conversion import ActionCheck, Conversion, Hints, SelfRun
from graphws.errors import GraphwsError, UsageError
from graphws.graph import NetworkGraph, Weights
from graphws.reporter import Reporter
from graphws_converters.analysis.interpreter import Analysis, analyse
from graphws_converters.analysis.ir import Program, Value
from graphws_converters.assembly.assembly import Stored, assemble
from graphws_converters.assembly.computation import Computation, chosen, computations, of_chain
from graphws_converters.chains.mlp_form import input_shape, may_be_mlp, mlp_form
from graphws_converters.fronts import Front, trace
from graphws_converters.fronts.errors import TraceFailure
from graphws_converters.fronts.recorder import record_program
from graphws_converters.gate.batch_norm import DifferentiableBatchNorm
from graphws_converters.gate.confirmation import confirm, unconfirmed
from graphws_converters.gate.crosscheck import Comparison, cross_check, larger_of
from graphws_converters.gate.gate import Outcome, gate, tolerance_of
from graphws_converters.gate.inputs import other_kinds
from graphws_converters.gate.outputs import every
from graphws_converters.gate.paths import one_path, steps_of
from graphws_converters.gate.precision import InFloat64, runs_in_float64
from graphws_converters.gate.purity import changed_by, generators_used
from graphws_converters.gate.reasons import reason_of
from graphws_converters.gate.self_run import ONE_PATH, OTHER_INPUTS, tensors_in
from graphws_converters.modules.hugging_face import prepare
from graphws_converters.modules.outputs import OutputFilter
from graphws_converters.modules.restored import Restored
from graphws_converters.modules.twin import refuse, twin_of
from graphws_converters.modules.wrappers import uncompiled

DRAWN = "random numbers are drawn in every run ({}): what the gate says is of runs in which they changed nothing"
"""The note on a network that is no function of its inputs alone; what draws stands in brackets."""
ALIKE = "whole numbers among the inputs say how they lie: what the gate says is of inputs that lie as the examples do"
"""The note on a model that reads places and masks from its inputs in Python."""
OWN_TYPE = "in the type that it came in its outputs differ by {:.1e} from those in float64, on which it was tried"
LARGEST_OF_A_TYPE = 1e-2
"""Largest share of outputs by which a network in float32 may differ from itself in float64, by rounding alone."""
LARGEST_NUMBER = 1e30
"""From here on numbers stand for infinity, whose stand-in differs between types: the lowest number, in masks."""
LEAST_GAIN = 0.1
"""Digits of a group's order by which outputs are worth a word."""
Inputs = Tensor | tuple[Any, ...] | list[Any] | Mapping[str, Any]


@uncompiled()
def convert_module(
    module: nn.Module,
    inputs: Inputs | None,
    *,
    generator: torch.Generator,
    front: Front = "auto",
    hints: Hints | None = None,
    names: Sequence[str] = (),
    laid_out: bool = False,
    marks: Collection[int] = (),
) -> Conversion:
    """The typed graph of a module, tried on the module itself.

    Law: a VERIFIED conversion's group leaves the module's function alone, as measured with random elements of the rich
    group; ``weights.to_state_dict()`` is the module's state dict, bit for bit.

    Args:
        module: Any module; not changed.
        inputs: Example inputs: one tensor, a tuple by position, or a mapping by name; None for a module whose linear
            layers show the shape.  Floating inputs that are constant are replaced by random numbers of their shape.
        generator: Source of randomness of the gate.
        front: Which front end traces: ``auto`` is torch.export, then the recorder.
        hints: What the caller says of the activations of an MLP; tried on the module, where it is one.  Which outputs
            count, where there are several; see `graphws_converters.modules.outputs`.
        names: Of the outputs in a tuple, where the source has names for them.
        laid_out: Whether whole numbers among the inputs that Python reads say how inputs lie, as sizes do; see
            `graphws_converters.gate.paths.one_path`.
        marks: The words of a vocabulary that say so, too: ends, paddings, the places of pictures.

    Raises:
        UsageError: Where the module cannot be copied, or run on these inputs.
        VerificationError: Where the numbers contradict the graph; the first space at fault is named.
    """
    _check(module, front)
    state = module.state_dict()
    meta = any(tensor.is_meta for tensor in state.values())
    twin, restored = twin_of(module)
    prepare(twin)
    counting = OutputFilter(hints.wanted if hints is not None else None, names)
    nn.Module.register_forward_hook(twin, lambda _, __, outputs: counting(outputs))  # a ScriptModule's own refuses
    args, kwargs = _arguments(twin, inputs, meta)
    own, moved = None, 0.0
    if not meta:
        args, kwargs, own, moved = _sharpen(twin, args, kwargs, generator)
    reporter = hints.reporter if hints is not None else Reporter()
    with reporter.work("tracing the network"):
        program = trace(twin, args, kwargs, front)
    counting.leave_states(program)
    choice, said = counting.choice, counting.note
    several = counting.values(program) if counting.wanted is None else {}
    path, drawn = ("", []) if meta else _watched(
        program, twin, restored, args, kwargs, generator, own, laid_out, marks
    )  # fmt: skip
    if not path and not drawn and moved > LARGEST_OF_A_TYPE:
        path = OWN_TYPE.format(moved)
    alike = laid_out and not path and program.front == "recorder" and bool(program.numbers_read())
    plain = _as_mlp(twin, args, kwargs, generator, hints)  # raises where it contradicts what the caller says
    with reporter.work("reading the axes of the trace"):
        analysis, stored = analyse(program), _stored(twin)
    assembled = assemble(analysis, stored)
    bare = assembled.graph
    if path or analysis.ties or (plain is not None and not math.isclose(bare.log10_order(), plain.log10_order())):
        plain = None  # its trace shows more than a chain
    notes: tuple[str, ...] = ("a chain of linear layers",)
    compared = Comparison("")
    types = {tensor.dtype for tensor in twin.state_dict().values()}
    if plain is not None:
        bare = plain
        candidates: Iterable[Computation] = (of_chain(plain),)
    else:
        types |= {value.dtype for node in analysis.program.nodes for value in node.outputs if value is not None}
        notes = _notes(analysis)
        if front == "auto" and analysis.program.front == "export" and not meta:
            compared = cross_check(bare, twin, args, kwargs, stored)
            notes += (compared.note,)
        candidates = computations(assembled, analysis.program, twin, (args, kwargs), generator)
    notes += (ALIKE,) * alike
    notes += tuple(filter(None, (said, _fixed_by_others(several, program, stored, bare))))
    if meta:
        graph = next(iter(candidates)).graph
        reason = "the weights are on the meta device: there are no numbers"
        return Conversion(
            graph, reason=reason, notes=notes, actions=unconfirmed(graph, "there are no numbers"),
            runs=SelfRun(None, "there are no numbers to compare"), outputs=choice,
        )  # fmt: skip
    exact = _can_be_exact(twin, args, kwargs, types)
    run = _runner(twin, args, kwargs, exact)
    written = isinstance(twin, torch.jit.ScriptModule)  # its runs write into its own tensors
    sharp = Weights.from_state_dict(bare, twin.state_dict(), copy=written)
    with reporter.work("running the graph by itself"):
        computed, runs = chosen(candidates, twin, sharp, (args, kwargs), types, generator)
    graph = computed.graph
    sharp = Weights(graph, sharp.tensors)
    tried = {torch.float64} if exact else types
    elsewhere = [(name, _runner(twin, *other, exact, every)) for name, other in other_kinds((args, kwargs), generator)]
    outcome = gate(
        graph, sharp, _runner(twin, args, kwargs, exact, every), generator,
        tolerance=tolerance_of(tried), elsewhere=[] if path else elsewhere, ties=bool(analysis.ties),
        reporter=reporter,
    )  # fmt: skip
    if path or (not alike and runs.reason.startswith(OTHER_INPUTS) and runs.reason.endswith(ONE_PATH)):
        outcome = Outcome(None, path or runs.reason, outcome.notes)
    weights = Weights.from_state_dict(graph, state)
    notes += (*outcome.notes, *([DRAWN.format(", ".join(drawn))] if drawn else ()))
    with reporter.work("trying signs and scales by gradients"):
        checks = _confirmed(twin, weights, outcome, run, tried, generator)
    if runs.error is not None and plain is None:
        graph = computed.labelled(sharp, (args, kwargs), generator)
        weights = Weights(graph, weights.tensors)
    found = Conversion(
        graph, weights, outcome.verification, outcome.reason, run, (args, kwargs), notes, checks, runs,
        outputs=choice,
    )  # fmt: skip
    if not compared.larger:
        return found
    return larger_of(found, lambda: convert_module(
        module, inputs, generator=generator, front="recorder", hints=hints, names=names, laid_out=laid_out, marks=marks
    ))  # fmt: skip


def _fixed_by_others(
    values: Mapping[str, list[Value]], program: Program, stored: Mapping[str, Stored], graph: NetworkGraph
) -> str:
    """Whether outputs beside the first fix neurons; empty where none does.

    Args:
        values: The tensors of each output that counts without a word from the caller.
        program: What they are computed by.
        stored: The tensors of the state dict.
        graph: The graph of all outputs.
    """
    if len(values) < 2:
        return ""
    first = next(iter(values))
    alone = assemble(analyse(replace(program, outputs=values[first])), stored).graph.log10_order()
    if alone - graph.log10_order() < LEAST_GAIN:
        return ""
    name = first if first.isdecimal() else repr(first)
    return (
        f"outputs: with {name} alone 10^{alone:.1f} relabellings, with all {len(values)} "
        f"10^{graph.log10_order():.1f}; outputs={name} counts it alone"
    )


def _watched(
    program: Program,
    twin: nn.Module,
    restored: Restored | None,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    generator: torch.Generator,
    own: Counter[str] | None,
    laid_out: bool,
    marks: Collection[int],
) -> tuple[str, list[str]]:
    """Why the trace may not be the whole of a module, and what draws random numbers in it."""

    def run() -> None:
        with torch.no_grad():
            twin.train().eval()(*pytree.tree_map_only(Tensor, torch.clone, args), **kwargs)

    with restored.paused() if restored is not None else nullcontext():
        changed = changed_by(twin, run)
    path = f"a run changes {changed!r}: the network is no function of weights and inputs" if changed else ""
    drawn = program.drawing()
    drawn += [f"the generator of {name}" for name in generators_used(run) if name != "torch" or not drawn]
    return path or one_path(program, twin, args, kwargs, generator, own, laid_out, marks), drawn


def _confirmed(
    twin: nn.Module,
    weights: Weights,
    outcome: Outcome,
    run: Callable[..., Tensor],
    types: set[torch.dtype],
    generator: torch.Generator,
) -> tuple[ActionCheck, ...]:
    """The actions beyond permutations, measured where the gate was passed."""
    if outcome.verification is None:
        return unconfirmed(weights.graph, outcome.reason)
    if isinstance(twin, torch.jit.ScriptModule):
        return unconfirmed(weights.graph, "a TorchScript program is not differentiated")
    kinds = {name: tensor.dtype for name, tensor in twin.state_dict().items() if tensor.is_floating_point()}
    dtype = next(iter(kinds.values()), torch.float64)
    return confirm(weights.graph, weights, run, types, generator, dtype)


def _check(module: nn.Module, front: Front) -> None:
    if isinstance(module, torch.jit.ScriptModule) and front != "recorder":
        raise UsageError("a TorchScript module hides its layers: give the Python module")
    refuse(module)


def _as_mlp(
    twin: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    generator: torch.Generator,
    hints: Hints | None,
) -> NetworkGraph | None:
    """The graph of an MLP by its own names; None for anything else, unless the caller's hints say that it is one."""
    given = hints if hints is not None else Hints()
    hinted = given.activation is not None or given.omega is not None
    sharp = len(args) == 1 and not kwargs and isinstance(args[0], Tensor) and args[0].dtype == torch.float64
    if not sharp or not (may_be_mlp(twin) or hinted) or args[0].is_meta:
        return None
    try:
        return mlp_form(twin, args[0].shape, generator, given)
    except GraphwsError:
        if hinted:
            raise
        return None
    except Exception as error:  # layers inside a vmap hand out tensors that cannot be read
        if hinted:
            raise UsageError(f"its layers cannot be followed one by one: {reason_of(error)}") from error
        return None


def _arguments(twin: nn.Module, inputs: Inputs | None, meta: bool) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Inputs by position and by name."""
    if inputs is None:
        if meta:
            raise UsageError("on the meta device nothing shows the shape of the module's inputs: give example_inputs")
        return (torch.zeros(input_shape(copy.deepcopy(twin).double()), dtype=torch.get_default_dtype()),), {}
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    return ((inputs,) if isinstance(inputs, Tensor) else tuple(inputs)), {}


def _sharpen(
    twin: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], generator: torch.Generator
) -> tuple[tuple[Any, ...], dict[str, Any], Counter[str] | None, float]:
    """Twin and inputs in float64, where the module can run there; else as they are.

    With them its steps in its own type, where it has another, and what part of its outputs that type changes.
    """

    def ready(x: Tensor) -> Tensor:
        x = x.detach().cpu()
        if x.is_floating_point() and x.numel() and bool((x == x.flatten()[0]).all()):
            x = torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.dtype)
        return x

    def double(x: Tensor) -> Tensor:
        return x.double() if x.is_floating_point() else x.to(torch.complex128) if x.is_complex() else x

    plain: tuple[tuple[Any, ...], dict[str, Any]] = pytree.tree_map_only(Tensor, ready, (args, kwargs))
    sharp: tuple[tuple[Any, ...], dict[str, Any]] = pytree.tree_map_only(Tensor, double, plain)
    types = {name: tensor.dtype for name, tensor in _held(twin)}
    own: Counter[str] | None = None
    before: list[Tensor] | None = None
    floating = {dtype for dtype in types.values() if dtype.is_floating_point}
    if floating - {torch.float64}:
        with suppress(TraceFailure, UsageError):  # what it cannot do, the trace will say
            own = steps_of(record_program(twin, *plain))
    if floating == {torch.float32}:
        with suppress(Exception):  # whatever the user's module raises, the trace will say
            before = _outputs(twin, plain)
    twin.double()
    for _, tensor in _held(twin):
        tensor.data = double(tensor.data)  # `Module.double` leaves complex numbers as they are
    try:
        after = _outputs(twin, sharp)
    except Exception:  # some modules insist on their own type
        for name, tensor in _held(twin):
            tensor.data = tensor.data.to(types[name])
        return *plain, None, 0.0
    return *sharp, own, 0.0 if before is None else _moved(before, after)


def _outputs(module: nn.Module, arguments: tuple[tuple[Any, ...], dict[str, Any]]) -> list[Tensor]:
    """The floating numbers that a module gives."""
    with torch.no_grad():
        args, kwargs = pytree.tree_map_only(Tensor, torch.clone, arguments)
        found = module.train().eval()(*args, **kwargs)
    return [x for x in pytree.tree_leaves(found) if isinstance(x, Tensor) and x.is_floating_point()]


def _moved(before: Sequence[Tensor], after: Sequence[Tensor]) -> float:
    """The largest share by which one of some outputs changes; those that are not finite are left out."""
    shares = [0.0]
    for one, two in zip(before, after, strict=False):
        if one.shape != two.shape:
            return math.inf
        one, two = one.double(), two.double()
        finite = (one.abs() < LARGEST_NUMBER) & (two.abs() < LARGEST_NUMBER)
        one, two = one[finite], two[finite]
        shares.append(float((one - two).norm() / two.norm().clamp_min(torch.finfo(torch.float32).tiny)))
    return max(shares)


def _held(module: nn.Module) -> list[tuple[str, Tensor]]:
    """Parameters and buffers, also those that the state dict leaves out."""
    return [*module.named_parameters(), *module.named_buffers()]


def _stored(module: nn.Module) -> dict[str, Stored]:
    """The tensors of the state dict, each once, with the other keys of the same tensor."""
    parameters = {id(p) for p in module.parameters()}
    first: dict[int, str] = {}
    keys: dict[str, list[str]] = {}
    tensors: dict[str, Tensor] = {}
    for key, tensor in module.state_dict(keep_vars=True).items():
        if not isinstance(tensor, Tensor):
            raise UsageError(f"state dict entry {key!r} is a {type(tensor).__name__}, not a tensor")
        name = first.setdefault(id(tensor), key)
        keys.setdefault(name, [])
        tensors.setdefault(name, tensor)
        if name != key:
            keys[name].append(key)
    return {
        name: Stored(tuple(tensor.shape), tuple(keys[name]), id(tensor) not in parameters)
        for name, tensor in tensors.items()
    }


def _can_be_exact(twin: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], types: set[torch.dtype]) -> bool:
    """Whether a module in float64 casts to smaller types, and runs without these casts."""
    tensors = (*twin.state_dict().values(), *tensors_in((args, dict(kwargs))))
    double = {x.dtype for x in tensors if x.is_floating_point()}
    smaller = any(dtype.is_floating_point and dtype != torch.float64 for dtype in types)
    if not smaller or double - {torch.float64}:
        return False
    return runs_in_float64(lambda: twin(*pytree.tree_map_only(Tensor, torch.clone, args), **kwargs))


def _runner(
    twin: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    exact: bool,
    collect: Callable[[Any], Any] | None = None,
) -> Callable[..., Any]:
    """Runs the module with other weights, on given inputs or on the example's; differentiable where the weights are.

    Args:
        twin: The module.
        args: Positional inputs.
        kwargs: Inputs by name.
        exact: Whether casts to smaller types are left out where the weights are in float64.
        collect: What is made of its outputs; one tensor where None.
    """
    collect = collect or _flat

    @uncompiled()
    def run(weights: Weights, *given: Any) -> Any:
        try:
            return tried(weights, *given)
        except GraphwsError:
            raise
        except Exception as error:  # the module is the user's: whatever it raises is a reason
            text = reason_of(error)
            raise UsageError(f"the module cannot be run with weights that are given to it: {text}") from error

    def tried(weights: Weights, *given: Any) -> Any:
        learns = any(tensor.requires_grad for _, tensor in weights.items()) and torch.is_grad_enabled()
        state = weights.to_state_dict(detach=not learns, copy=False)
        own = {name for name, _ in _held(twin)}
        dtype = next((x.dtype for _, x in weights.items() if x.is_floating_point()), torch.float32)

        def ready(x: Tensor) -> Tensor:
            return x.to(dtype, copy=True) if x.is_floating_point() else x.clone()

        fresh = pytree.tree_map_only(Tensor, ready, (given or args, {} if given else dict(kwargs)))
        twin.train().eval()  # empties what some modules keep from their last run
        precise = InFloat64() if exact and dtype == torch.float64 else nullcontext()
        with precise, torch.set_grad_enabled(learns and not isinstance(twin, torch.jit.ScriptModule)):
            if isinstance(twin, torch.jit.ScriptModule):
                for name, tensor in _held(twin):
                    if name in state:
                        tensor.copy_(state[name])
                return collect(twin(*fresh[0], **fresh[1]))
            with DifferentiableBatchNorm() if learns else nullcontext():
                return collect(functional_call(twin, {k: v for k, v in state.items() if k in own}, *fresh))

    return run


def _flat(outputs: object) -> Tensor:
    """One tensor: the only output, or all floating ones in a row."""
    found = [leaf for leaf in pytree.tree_leaves(outputs) if isinstance(leaf, Tensor)]
    floating = [leaf for leaf in found if leaf.is_floating_point()]
    if len(found) == 1 or len(floating) == 1:
        return (floating or found)[0]
    return torch.cat([leaf.reshape(-1) for leaf in floating or found])


def _notes(analysis: Analysis) -> tuple[str, ...]:
    """What people should know."""
    notes = [f"traced by {analysis.program.front}: {len(analysis.program.nodes)} operations"]
    notes += [f"no rule for {op} ({count} times): what it touches is free" for op, count in analysis.opaque.items()]
    notes += [
        f"a tie in {op} ({count} times) is decided by position: relabellings hold where no two chosen from are equal"
        for op, count in analysis.ties.items()
    ]
    notes += [f"{key!r} is not used" for key in analysis.unused]
    return tuple(notes)
