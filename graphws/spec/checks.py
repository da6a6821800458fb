"""What the sections of a spec must agree on.

A check looks at a whole, well-typed spec and yields violations: a path and what is wrong there.  `CHECKS` names
the sections that a check reads; where one of them is broken already, the check is left out, so that a typing mistake
does not hide the others and does not invent any.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from graphws.spec.experiment_checks import experiment_alone, experiment_layers, experiment_pictures
from graphws.spec.inputs import ZooInput
from graphws.spec.model import MlpModel
from graphws.spec.model_checks import attention_heads, layer_messages, reductions
from graphws.spec.networks import coordinates
from graphws.spec.schema import READING, Spec
from graphws.spec.sources import SineSource
from graphws.spec.task import Classification, InvariantHead, Regression, WeightsTask
from graphws.spec.train import Train
from graphws.spec.validation_errors import dotted
from graphws.spec.violations import Violation, duplicates

Check = Callable[[Spec], Iterator[Violation]]

HEADS = {"classification": "invariant", "regression": "invariant", "weights": "equivariant"}
"""The kind of head that a kind of task needs."""


def violations(spec: Spec, broken: Collection[str] = ()) -> list[Violation]:
    """All that the checks find, without those that read a `broken` section."""
    return [violation for check, reads in CHECKS if not {*reads} & {*broken} for violation in check(spec)]


def _zoo_is_given(spec: Spec) -> Iterator[Violation]:
    if isinstance(spec.input, ZooInput) and spec.input.path is None and spec.zoo is None:
        yield Violation(("input",), "input.kind is zoo, but there is no zoo: give `input.path` or a section `zoo`")


def _split_leaves_training(spec: Spec) -> Iterator[Violation]:
    if spec.zoo is not None:
        split = spec.zoo.split
        if split.validation + split.test >= 1:
            yield Violation(
                ("zoo", "split"),
                f"zoo.split: validation {split.validation:g} and test {split.test:g} leave nothing for training; "
                "together they must be below 1",
            )


def _ranges_ascend(spec: Spec) -> Iterator[Violation]:
    if spec.zoo is not None and isinstance(spec.zoo.source, SineSource):
        for name in ("amplitude", "frequency"):
            low, high = getattr(spec.zoo.source, name)
            if low > high:
                yield Violation(
                    ("zoo", "source", name),
                    f"zoo.source.{name} runs from {low:g} down to {high:g}; write the smaller one first",
                )


def _head_fits_task(spec: Spec) -> Iterator[Violation]:
    if spec.task is None or spec.model is None:
        return
    wanted = HEADS.get(spec.task.kind)
    if spec.head is None:
        what = f"`head: {{kind: {wanted}}}`" if wanted else "a section `head`"
        yield Violation(("task",), f"task.kind is {spec.task.kind}, but the model has no head; add {what}")
    elif wanted and spec.head.kind in HEADS.values() and spec.head.kind != wanted:
        what = f"head.kind is {spec.head.kind}, but the task {spec.task.kind} needs {wanted}"
        yield Violation(("head", "kind"), what)


def _outputs_fit_task(spec: Spec) -> Iterator[Violation]:
    if not isinstance(spec.head, InvariantHead):
        return
    outputs, at = spec.head.outputs, ("head", "outputs")
    if isinstance(spec.task, Classification) and outputs < 2:
        what = f"head.outputs is {outputs}, but a classification needs an output for each class, 2 or more"
        yield Violation(at, what)
    if isinstance(spec.task, Regression) and outputs != len(spec.task.targets):
        yield Violation(at, f"head.outputs is {outputs}, but task.target names {len(spec.task.targets)}")


def _targets_differ(spec: Spec) -> Iterator[Violation]:
    if isinstance(spec.task, Regression):
        for position, name in duplicates(spec.task.targets):
            yield Violation(("task", "target", position), f"task.target names {name!r} twice")


def _noise_to_remove(spec: Spec) -> Iterator[Violation]:
    denoise = isinstance(spec.task, WeightsTask) and spec.task.target == "denoise"
    if denoise and spec.augment.noise == 0 and spec.augment.dropout == 0:
        yield Violation(
            ("task",), "task.target is denoise, but augment.noise and augment.dropout are 0: nothing to remove"
        )


def _pictures_to_rotate(spec: Spec) -> Iterator[Violation]:
    known = coordinates(spec)
    if spec.augment.rotation > 0 and known is not None and known != 2:
        yield Violation(
            ("augment", "rotation"),
            f"augment.rotation turns pictures, networks with 2 inputs, but these have {known}",
        )


def _training(spec: Spec) -> Iterator[Violation]:
    yield from _train(("train",), spec.train)


def _comparison(spec: Spec) -> Iterator[Violation]:
    for position, name in duplicates(baseline.name for baseline in spec.compare):
        yield Violation(("compare", position, "name"), f"compare[{position}].name is {name!r}, which is taken already")
    for position, baseline in enumerate(spec.compare):
        at = ("compare", position)
        if baseline.train is not None:
            yield from _train((*at, "train"), baseline.train)
        if baseline.match_parameters and not isinstance(baseline.model, MlpModel):
            what = f"compare[{position}].match_parameters chooses the width of an mlp"
            yield Violation((*at, "match_parameters"), f"{what}, but the model is {baseline.model.kind}")


def _train(path: tuple[str | int, ...], train: Train) -> Iterator[Violation]:
    """Every learning rate and every seed only once."""
    for name, values in (("optimizer.lr", train.optimizer.grid), ("seeds", train.seeds)):
        at = (*path, *name.split("."))
        for position, value in duplicates(values):
            yield Violation((*at, position), f"{dotted(at)} has {value:g} twice")


CHECKS: tuple[tuple[Check, tuple[str, ...]], ...] = (
    (_zoo_is_given, ("input", "zoo")),
    (_split_leaves_training, ("zoo",)),
    (_ranges_ascend, ("zoo",)),
    (_pictures_to_rotate, ("augment", "input", "zoo")),
    (attention_heads, ("model", "compare")),
    (layer_messages, ("model", "compare")),
    (reductions, ("model", "compare", "input", "zoo")),
    (_head_fits_task, ("model", "head", "task")),
    (_outputs_fit_task, ("head", "task")),
    (_targets_differ, ("task",)),
    (_noise_to_remove, ("task", "augment")),
    (_training, ("train",)),
    (_comparison, ("compare", "model", "train")),
    (experiment_alone, ("experiment", *READING)),
    (experiment_layers, ("experiment",)),
    (experiment_pictures, ("experiment",)),
)
"""Every check and the sections that it reads."""
