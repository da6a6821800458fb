"""The reduction itself: rules in turn, each tried on the network, until none finds anything more.

One round goes backward through the spaces for unread, silent and constant elements (a neuron that only a dead one reads
is dead too), then forward for duplicates (two neurons that read duplicates may become duplicates), then through heads
and linear spaces.  Whatever a rule proposes is done on a copy, and the copy's outputs are compared with the original's;
where they moved too far, smaller parts of the proposal are tried, and what fails alone is left alone.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace

import torch
from torch import Tensor

from graphws.actions.reduction.alike import alike
from graphws.actions.reduction.contributions import absorbed
from graphws.actions.reduction.edit import merged, remove
from graphws.actions.reduction.following import follow, follow_rank
from graphws.actions.reduction.heads import heads_of, redundant_heads
from graphws.actions.reduction.maps import SpaceMap, Step
from graphws.actions.reduction.nearness import RULES, figures
from graphws.actions.reduction.quiet import cleaned, quiet, shifted, without
from graphws.actions.reduction.rank import completed, own_places, project, rank_table, spans
from graphws.actions.reduction.refit import Kept, refitted
from graphws.actions.reduction.result import Reduction
from graphws.actions.reduction.rules import Distances, duplicates, inactive
from graphws.actions.reduction.running import Run, Witnesses, narrows
from graphws.actions.reduction.slices import places
from graphws.actions.reduction.tolerance import Choice, Tolerance, check_choice, choose
from graphws.actions.reduction.worlds import Worlds
from graphws.errors import GraphError, GraphwsError, UsageError, VerificationError
from graphws.graph import Action, NetworkGraph, Space, Weights
from graphws.operations.labels import Labels, labels
from graphws.operations.runner import Inputs
from graphws.reporter import Progress, Reporter

SLACK = 10.0
"""How far outputs may move, in units of the largest tolerance."""
MOST = 0.3
"""The most that outputs may move where nothing else is said."""
NARROW = 1e-6
"""How far outputs may move at least where a part is computed in a smaller type."""


def reduce(
    weights: Weights,
    inputs: Inputs | None = None,
    *,
    run: Run | None = None,
    tolerance: Choice = "dtype",
    allowed: float | None = None,
    generator: torch.Generator | None = None,
    reporter: Reporter | None = None,
) -> Reduction:
    """The smallest network that the rules find, with the same function (paper I, remark 5.2).

    Laws: outputs agree to `allowed`; reducing the result changes nothing; a group element applied first changes the
    result by a group element only.

    Args:
        weights: One network (a batch of one).
        inputs: Inputs on which outputs are compared; random ones where None.  Where only exact redundancy goes, outputs
            are compared on some of them negated, larger, smaller and at zero, too.
        run: Computes outputs from weights, also from weights of fewer neurons: the network's own code.  It has the say
            where the graph does not run by itself; else it may refuse, and the result then runs from its graph only.
        tolerance: What counts as zero: ``dtype``, ``gap`` or a number; see `graphws.actions.reduction.tolerance`.
        allowed: Largest relative change of the outputs; where None, `SLACK` times the tolerance, at most `MOST`.
        generator: Source of the random points; seeded with 0 where None.
        reporter: Hears how many spaces each round has been through.

    Raises:
        UsageError: On a batch of several networks, on a tolerance that is none, where there is nothing to run.
        DataError: Where the network's outputs on the inputs hold NaN or infinity.
        VerificationError: Where the network gives other outputs each time, or the result other outputs than allowed.
    """
    if weights.batch != 1:
        raise UsageError(f"one network is reduced at a time: got a batch of {weights.batch}; use weights.select([0])")
    weights.check_finite()
    check_choice(tolerance)
    precise = Weights(weights.graph, {name: x.detach().cpu().double() for name, x in weights.items()})
    witnesses = Witnesses(precise, inputs, run, generator, other_sizes=tolerance == "dtype")
    work = _Work(weights, witnesses, tolerance, allowed)
    while work.round(reporter or Reporter()):
        pass
    return work.result()


class _Work:
    """A reduction under way: the network as it is now, and how it came about."""

    def __init__(self, weights: Weights, witnesses: Witnesses, choice: Choice, allowed: float | None) -> None:
        self.source, self.witnesses = weights, witnesses
        self.graph, self.rounds = weights.graph, 0
        self.tensors = {name: x[0].detach().cpu().double() for name, x in weights.items()}
        self.left_alone: dict[str, str] = {}
        self.maps = {
            s.name: SpaceMap.identity(s.name, self.graph.extent(s.name), self._power(s.name))
            for s in self.graph.spaces
            if s.moves and (s.parent is None or s.action is Action.LINEAR)
        }
        self.spaces = [s.name for s in self.graph.spaces if self._searched(s)]
        self.linear = [s.name for s in self.graph.spaces if self._spanned(s)]
        self.unsearched = dict(self.left_alone)
        self.choice, self.given = choice, allowed
        self.seen: dict[tuple[str, str], tuple[dict[str, Tensor], Tensor]] = {}
        self.tolerances = {rule: self._choose(rule, self._subjects(rule)) for rule in RULES}
        self.allowed = self._slack()
        self.labels: Labels = {}
        self._worlds: tuple[dict[str, Tensor], float, Worlds | None] | None = None
        if witnesses.from_graph:
            with contextlib.suppress(GraphError):  # shapes that only the inputs show
                self.labels = labels(self.graph)
        witnesses.steady(self._weights(self.graph, self.tensors), self.allowed)

    def _power(self, space: str) -> int:
        return max([1, *(-place.power for place in places(self.graph, space))])

    def _searched(self, space: Space) -> bool:
        """Whether the rules for neurons apply to a space; where they do not, says why."""
        if not space.moves or space.parent is not None or space.action is Action.LINEAR:
            if not space.moves and space.parent is None:
                self.left_alone[space.name] = "the group does not move it"
            elif space.parent is not None and space.action is not Action.LINEAR:
                self.left_alone[space.name] = "its elements are nested, and go with their parents only"
            return False
        for place in places(self.graph, space.name):
            parameter = self.graph.parameter(place.parameter)
            if parameter.axes[place.axis].inner:
                self.left_alone[space.name] = f"{parameter.name!r} keeps its parents on another axis"
                return False
        return True

    def _spanned(self, space: Space) -> bool:
        if space.action is not Action.LINEAR or not space.moves:
            return False
        if any(place.power not in (1, -1) for place in own_places(self.graph, space.name)):
            self.left_alone[space.name] = "a parameter follows it with a power that a matrix has not"
            return False
        return not any(axis.inner and axis.space == space.name for p in self.graph.parameters for axis in p.axes)

    def _limit(self, rule: str, space: str) -> float:
        """What counts as zero for a rule, about to be applied to a space.

        A gap that was not there at first may open as other rules take things out, or be plain in one space where many
        hide it, so it is looked for again until it is found; then it serves the rule everywhere.
        """
        for spaces in (self._subjects(rule), [space]):
            if self.choice == "gap" and self.tolerances[rule].source == "dtype":
                self.tolerances[rule] = self._choose(rule, spaces)
                self.allowed = max(self.allowed, self._slack())
        return self.tolerances[rule].value

    def _subjects(self, rule: str) -> list[str]:
        """The spaces that a rule looks at."""
        if rule == "head":
            return [heads.space for heads in heads_of(self.graph)]
        return self.linear if rule == "rank" else self.spaces

    def _choose(self, rule: str, spaces: list[str]) -> Tolerance:
        parts = [torch.zeros(0, dtype=torch.float64)]
        if self.choice == "gap":
            parts += [self._figures(rule, name) for name in spaces]
        return choose(self.choice, self.source.dtype, torch.cat(parts))

    def _figures(self, rule: str, name: str) -> Tensor:
        """The figures of a rule in a space, computed once for the network as it is now."""
        tensors, seen = self.seen.get((rule, name), ({}, torch.zeros(0)))
        if tensors is not self.tensors:
            seen = figures(rule, self.graph, self.tensors, name)
            self.seen[rule, name] = self.tensors, seen
        return seen

    def _slack(self) -> float:
        """How far outputs may move."""
        largest = max(tolerance.value for tolerance in self.tolerances.values())
        floor = NARROW if narrows(self.graph) else 0.0
        return max(floor, min(SLACK * largest, MOST)) if self.given is None else self.given

    @staticmethod
    def _weights(graph: NetworkGraph, tensors: dict[str, Tensor]) -> Weights:
        return Weights(graph, {name: x.unsqueeze(0) for name, x in tensors.items()})

    def worlds(self, limit: float) -> Worlds | None:
        """What the network as it is now computes for any input; None where its graph cannot tell."""
        if not self.witnesses.from_graph:
            return None
        if self._worlds is None or self._worlds[0] is not self.tensors or self._worlds[1] != limit:
            made: Worlds | None
            try:
                made = Worlds(self.graph, cleaned(self.graph, self.tensors, self.spaces, limit))
            except GraphError:
                made = None
            self._worlds = self.tensors, limit, made
        return self._worlds[2]

    def round(self, reporter: Reporter) -> bool:
        """Every rule once; whether anything went."""
        before = self.graph
        self.rounds += 1
        looks = 2 * len(self.spaces) + len(heads_of(before)) + len(self.linear)
        with reporter.work(f"round {self.rounds}: what does nothing", looks, "looks at a space") as progress:
            self._rules(progress)
        return self.graph != before

    def _rules(self, progress: Progress) -> None:
        """Every rule once; counts the looks."""
        self.left_alone = dict(self.unsearched)  # the last round says what had to stay in the end
        for name in reversed(self.spaces):
            self._inactive(name)
            progress.advance()
        for name in self.spaces:
            self._duplicates(name)
            progress.advance()
        for heads in heads_of(self.graph):
            steps, tensors = redundant_heads(self.graph, self.tensors, heads, self._limit("head", heads.space))
            if len(steps) < self.graph.space(heads.space).size:
                self._take(heads.space, steps, tensors)
            progress.advance()
        for name in self.linear:
            self._rank(name)
            progress.advance()

    def _inactive(self, name: str) -> None:
        limit = self._limit("inactive", name)
        worlds = self.worlds(limit)
        if worlds is None:
            space = self.graph.space(name)
            self._take(name, inactive(self.tensors, places(self.graph, name), space.size, limit))
            return
        steps, why = quiet(worlds, self.labels, name, limit)
        if why:
            self.left_alone[name] = why
        self._take(name, steps)

    def _duplicates(self, name: str) -> None:
        space = self.graph.space(name)
        distances = Distances(self.tensors, places(self.graph, name), space.size, space.action)
        limit = self._limit("duplicate", name)
        self._take(name, duplicates(distances, space.size, limit))
        worlds = self.worlds(self._limit("inactive", name))
        if worlds is not None:
            self._take(name, alike(worlds, self.labels, name, limit))

    def _take(self, name: str, steps: dict[int, Step], tensors: dict[str, Tensor] | None = None) -> None:
        """Removes elements of a space, as many as the outputs allow; a space keeps at least one."""
        elements = self.graph.space(name).size
        if len(steps) == elements:
            steps = dict(sorted(steps.items())[1:])
        accepted: dict[int, Step] = {}
        result: tuple[NetworkGraph, dict[str, Tensor]] | None = None
        waiting = [steps] if steps else []
        whole = tensors is not None
        refusal = ""
        while waiting:
            part = waiting.pop()
            trial = accepted | part
            try:
                result = self._without(name, trial, tensors or self.tensors)
                accepted = trial
            except GraphwsError as error:
                if len(part) == 1 or whole:
                    refusal = str(error)
                else:
                    half = sorted(part.items())
                    waiting += [dict(half[len(half) // 2 :]), dict(half[: len(half) // 2])]
        if refusal:
            self.left_alone[name] = f"{len(steps) - len(accepted)} redundant elements had to stay: {refusal}"
        if result is not None:
            follow(self.maps, self.graph, name, accepted)
            self.graph, self.tensors = result

    def _without(
        self, name: str, steps: dict[int, Step], tensors: dict[str, Tensor]
    ) -> tuple[NetworkGraph, dict[str, Tensor]]:
        """The network without some elements; `GraphwsError` where it computes something else."""
        elements = self.graph.space(name).size
        worlds = self.worlds(self._limit("inactive", name))
        gone = [j for j, step in steps.items() if step.reason in ("silent", "constant")]
        if worlds is not None and gone:
            before = worlds.known[0]
            edits = without(before, places(self.graph, name), elements, gone)
            folded = absorbed(worlds, edits)
            rest = {key: x for key, x in folded.items() if key not in edits}
            tensors = {**tensors, **shifted(tensors, before, rest)}
        zeroed = merged(self.graph, tensors, name, steps)
        graph, made = remove(self.graph, zeroed, name, steps)
        return self._accepted(zeroed, graph, made, Kept(elements, tuple(j for j in range(elements) if j not in steps)))

    def _accepted(
        self, zeroed: dict[str, Tensor], graph: NetworkGraph, made: dict[str, Tensor], kept: Kept
    ) -> tuple[NetworkGraph, dict[str, Tensor]]:
        """A smaller network, its operations refitted where need be; `GraphError` where it computes something else."""
        refusal = self.witnesses.refusal(self._weights(graph, made), self.allowed)
        if refusal and self.witnesses.from_graph:
            try:
                operations = refitted(self.graph, zeroed, graph, made, kept)
            except GraphError as error:
                raise GraphError(f"{refusal} ({error})") from None
            graph = replace(graph, operations=operations)
            refusal = self.witnesses.refusal(self._weights(graph, made), self.allowed)
        if refusal:
            raise GraphError(refusal)
        return graph, made

    def _rank(self, name: str) -> None:
        """Shrinks a linear space to the span of what is written into it, then of what is read from it."""
        for written in (True, False):
            span = spans(self.graph, self.tensors, name, written, self._limit("rank", name))
            if span is None:
                self._uneven(name, written)
                continue
            size, whole = self.graph.space(name).size, completed(span)
            try:
                graph, made = project(self.graph, self.tensors, name, span)
                zeroed = project(self.graph, self.tensors, name, whole)[1]
                graph, made = self._accepted(zeroed, graph, made, Kept(size, tuple(range(span.bases.shape[2]))))
            except GraphError as error:
                beside = self._joined(name)
                self.left_alone[name] = f"in fewer dimensions: {beside or error}"
                continue
            follow_rank(self.maps, name, span)
            self.graph, self.tensors = graph, made

    def _joined(self, name: str) -> str:
        """What a space's parameters are stored with, in one tensor of equal parts; empty where with nothing."""
        for place in own_places(self.graph, name):
            for operation in self.graph.operations:
                sizes = {self.graph.shape(each) for each in operation.inputs} if operation.kind == "stored" else set()
                if place.parameter in operation.inputs and len(operation.inputs) > 1 and len(sizes) == 1:
                    others = [repr(each) for each in operation.inputs if each != place.parameter]
                    return (
                        f"{place.parameter!r} is one part of a tensor whose parts are equally large, and "
                        f"{' and '.join(others)} would have to shrink with it"
                    )
        return ""

    def _uneven(self, name: str, written: bool) -> None:
        """Says where some parents use fewer dimensions than the others."""
        table = rank_table(self.graph, self.tensors, name, written)
        idle = (table <= self._limit("rank", name)).sum(1) if len(table) else table
        parents = [k for k, count in enumerate(idle.tolist()) if count]
        if parents:
            size = self.graph.space(name).size
            most = size - int(idle[idle > 0].min())
            self.left_alone[name] = (
                f"parents {', '.join(map(str, parents))} of {len(table)} need no more than {most} of {size} "
                "dimensions, but others need all, and all are equally wide"
            )

    def result(self) -> Reduction:
        """The outcome, compared with the original once more in the type that it is stored in."""
        stored = {
            name: x.unsqueeze(0).to(self.source.device, self.source.tensors[name].dtype)
            for name, x in self.tensors.items()
        }
        rounded = {name: x[0].cpu().double() for name, x in stored.items()}
        change = self.witnesses.change(self._weights(self.graph, rounded))
        if not change <= self.allowed:
            raise VerificationError(
                f"the reduced network's outputs differ by {change:.1e} (allowed {self.allowed:.1e}): "
                "lower the tolerance"
            )
        weights = Weights(self.graph, stored)
        return Reduction(
            self.source.graph, self.graph, weights, self.maps, self.left_alone, self.tolerances, change, self.allowed,
            self.witnesses.refused,
        )  # fmt: skip
