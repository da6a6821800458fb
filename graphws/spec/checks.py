"""What the sections of a spec must agree on.

A check looks at a whole, well-typed spec and yields violations: a path and what is wrong there.  What a section can say
by itself, or what depends on its kind, is a method of the section.  `CHECKS` names the sections that a check reads;
where one of them is broken already, the check is left out, so that a typing mistake does not hide the others and does
not invent any.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from graphws.errors import nearest
from graphws.spec.models import ModelSection
from graphws.spec.networks import mlp_spaces
from graphws.spec.schema import READING, Spec
from graphws.spec.section import Section
from graphws.spec.tree import Path, dotted
from graphws.spec.violations import Violation, duplicates

Check = Callable[[Spec], Iterator[Violation]]


def violations(spec: Spec, broken: Collection[str] = ()) -> list[Violation]:
    """All that the checks find, without those that read a `broken` section."""
    sound = [(name, getattr(spec, name)) for name in type(spec).model_fields if name not in broken]
    own = [violation for name, value in sound for violation in _own(value, (name,))]
    return own + [found for check, reads in CHECKS if not {*reads} & {*broken} for found in check(spec)]


def _own(value: object, at: Path) -> Iterator[Violation]:
    """What a section and those in it say by themselves."""
    if isinstance(value, Section):
        yield from value.violations(at)
        for name, field in type(value).model_fields.items():
            yield from _own(getattr(value, name), (*at, field.alias or name))
    elif isinstance(value, tuple):
        for position, item in enumerate(value):
            yield from _own(item, (*at, position))


def _zoo_is_given(spec: Spec) -> Iterator[Violation]:
    if spec.input is not None:
        yield from spec.input.zoo_violations(spec.zoo, ("input",))


def _models_fit_networks(spec: Spec) -> Iterator[Violation]:
    spaces = mlp_spaces(_widths(spec))
    for at, model in _models(spec):
        yield from model.space_violations(spaces, at)


def _models_read_all_architectures(spec: Spec) -> Iterator[Violation]:
    number = None if spec.input is None else spec.input.architectures(spec.zoo)
    if number is not None:
        for at, model in _models(spec):
            yield from model.architecture_violations(number, at)


def _models_fit_head(spec: Spec) -> Iterator[Violation]:
    if spec.head is not None:
        for at, model in _models(spec):
            yield from model.head_violations(spec.head, at)


def _pictures_to_rotate(spec: Spec) -> Iterator[Violation]:
    widths = _widths(spec)
    if widths is None or widths[0] in (None, 2):
        return
    for at, augment in _sections(spec, "augment"):
        if augment.rotation > 0:
            here = (*at, "rotation")
            what = f"{dotted(here)} turns pictures, networks with 2 inputs, but these have {widths[0]}"
            yield Violation(here, what)


def _aligned_networks_are_alike(spec: Spec) -> Iterator[Violation]:
    number = None if spec.input is None else spec.input.architectures(spec.zoo)
    for at, preprocess in _sections(spec, "preprocess"):
        if preprocess.align != "none" and number is not None and number > 1:
            here = (*at, "align")
            what = f"{dotted(here)} brings networks of one architecture to one order, but these have {number}"
            yield Violation(here, what)


def _aligned_networks_keep_their_order(spec: Spec) -> Iterator[Violation]:
    own = spec.preprocess, spec.augment, ("augment",)
    others = (
        (
            baseline.preprocess or spec.preprocess,
            baseline.augment or spec.augment,
            ("compare", position, "augment" if baseline.augment is not None else "preprocess"),
        )
        for position, baseline in enumerate(spec.compare)
    )
    for preprocess, augment, at in (own, *others):
        if preprocess.align != "none" and augment.group:
            what = f"{dotted(at)}: networks are aligned, and augment.group would take their order from them again"
            yield Violation((*at, "group" if at[-1] == "augment" else "align"), f"{what}; take one of the two")


def _head_fits_task(spec: Spec) -> Iterator[Violation]:
    if spec.task is None or spec.model is None:
        return
    wanted = "equivariant" if spec.task.answers_networks else "invariant"
    if spec.head is None:
        what = f"task.kind is {spec.task.kind}, but the model has no head; add `head: {{kind: {wanted}}}`"
        yield Violation(("task",), what)
    elif (spec.head.size() is None) != spec.task.answers_networks:
        what = f"head.kind is {spec.head.kind}, but the task {spec.task.kind} needs {wanted}"
        yield Violation(("head", "kind"), what)


def _task_fits_head(spec: Spec) -> Iterator[Violation]:
    if spec.task is not None and spec.head is not None:
        yield from spec.task.head_violations(spec.head, ("head",))


def _task_fits_models(spec: Spec) -> Iterator[Violation]:
    if spec.task is not None:
        for at, model in _models(spec):
            yield from spec.task.model_violations(model, at)


def _task_fits_networks(spec: Spec) -> Iterator[Violation]:
    if spec.task is not None:
        yield from spec.task.network_violations(_widths(spec), ("task",))


def _task_fits_augmentation(spec: Spec) -> Iterator[Violation]:
    if spec.task is None:
        return
    yield from spec.task.augment_violations(spec.augment, ("task",))
    if spec.task.judged_by_noise:  # then no other augmentation has another noise
        return
    for at, augment in _sections(spec, "augment"):
        for violation in spec.task.augment_violations(augment, ("task",)) if at != ("augment",) else ():
            yield Violation(at, f"{dotted(at)}: {violation.message}")


def _targets_are_columns(spec: Spec) -> Iterator[Violation]:
    known = spec.input.columns(spec.zoo) if spec.input is not None else None
    if spec.task is None or known is None:
        return
    for name in spec.task.columns():
        if name not in known:
            hint = nearest(name, known) or f"; it will have {', '.join(known)}"
            what = f"task reads the column {name!r}, which the zoo's table will not have{hint}"
            yield Violation(("task", "target"), what)


def _baselines(spec: Spec) -> Iterator[Violation]:
    for position, name in duplicates(baseline.name for baseline in spec.compare):
        yield Violation(("compare", position, "name"), f"compare[{position}].name is {name!r}, which is taken already")
    for position, baseline in enumerate(spec.compare):
        if baseline.match_parameters and not baseline.model.size_key:
            at = ("compare", position, "match_parameters")
            what = f"{dotted(at)} chooses a width, and a model of the kind {baseline.model.kind!r} has none"
            yield Violation(at, what)


def _baselines_keep_the_noise(spec: Spec) -> Iterator[Violation]:
    """Where answers are judged by noise, all models are asked to take off the same."""
    if spec.task is None or not spec.task.judged_by_noise:
        return
    kept = {"augment": ("noise", "dropout"), "preprocess": ("gauge", "align")}
    reason = {"augment": "is what the task takes off", "preprocess": "decides how large the task's noise is"}
    for section, keys in kept.items():
        own = getattr(spec, section)
        for at, other in _sections(spec, section):
            for key in keys:
                if getattr(own, key) != getattr(other, key):
                    here = (*at, key)
                    what = f"{dotted(here)} {reason[section]}, so it must equal {section}.{key}"
                    yield Violation(here, what)


def _task_takes_aligned(spec: Spec) -> Iterator[Violation]:
    if spec.task is None or spec.task.takes_aligned:
        return
    for at, preprocess in _sections(spec, "preprocess"):
        if preprocess.align != "none":
            here = (*at, "align")
            what = (
                f"{dotted(here)}: the task {spec.task.kind} answers for networks in the order in which they are stored"
            )
            yield Violation(here, what)


def _published_fits_sweep(spec: Spec) -> Iterator[Violation]:
    if spec.published is not None:
        yield from spec.published.sweep_violations(spec.sweep, spec.scaled is not None, ("published",))


def _published_fits_task(spec: Spec) -> Iterator[Violation]:
    if spec.published is not None and spec.task is not None:
        yield from spec.published.task_violations(spec.task, ("published",))


def _sweep_fits_baselines(spec: Spec) -> Iterator[Violation]:
    if spec.sweep is not None and spec.sweep.path[0] == "compare" and len(spec.sweep.path) > 2:
        names = [baseline.name for baseline in spec.compare]
        if (name := spec.sweep.path[1]) not in names:
            yield Violation(("sweep", "key"), f"sweep.key: compare has no baseline {name!r}{nearest(name, names)}")


def _experiment_alone(spec: Spec) -> Iterator[Violation]:
    """A spec describes an experiment or a model that reads networks, not both."""
    if spec.experiment is None:
        return
    nothing = Spec(graphws=1)
    for name in READING:
        if getattr(spec, name) != getattr(nothing, name):
            inside = f" (its own is experiment.{name})" if name in ("task", "train") else ""
            yield Violation((name,), f"{name} does not go with an experiment{inside}; take one of the two out")


def _widths(spec: Spec) -> tuple[int | None, ...] | None:
    return None if spec.input is None else spec.input.known_widths(spec.zoo)


def _sections(spec: Spec, name: str) -> Iterator[tuple[Path, Any]]:
    """The section of a name and what entries of `compare` have instead of it, each with its place."""
    yield (name,), getattr(spec, name)
    for position, baseline in enumerate(spec.compare):
        if (own := getattr(baseline, name)) is not None:
            yield ("compare", position, name), own


def _models(spec: Spec) -> Iterator[tuple[Path, ModelSection]]:
    """Every model of the spec and where it stands."""
    if spec.model is not None:
        yield ("model",), spec.model
    for position, baseline in enumerate(spec.compare):
        yield ("compare", position, "model"), baseline.model


CHECKS: tuple[tuple[Check, tuple[str, ...]], ...] = (
    (_zoo_is_given, ("input", "zoo")),
    (_models_fit_networks, ("model", "compare", "input", "zoo")),
    (_models_read_all_architectures, ("model", "compare", "input", "zoo")),
    (_models_fit_head, ("model", "compare", "head")),
    (_pictures_to_rotate, ("augment", "compare", "input", "zoo")),
    (_aligned_networks_are_alike, ("preprocess", "compare", "input", "zoo")),
    (_aligned_networks_keep_their_order, ("preprocess", "augment", "compare")),
    (_head_fits_task, ("model", "head", "task")),
    (_task_fits_head, ("head", "task")),
    (_task_fits_models, ("model", "compare", "task")),
    (_task_fits_networks, ("task", "input", "zoo")),
    (_task_fits_augmentation, ("task", "augment", "compare")),
    (_targets_are_columns, ("task", "input", "zoo")),
    (_baselines, ("compare",)),
    (_baselines_keep_the_noise, ("compare", "task", "augment", "preprocess")),
    (_task_takes_aligned, ("task", "compare", "preprocess")),
    (_published_fits_sweep, ("published", "sweep")),
    (_published_fits_task, ("published", "task")),
    (_sweep_fits_baselines, ("sweep", "compare")),
    (_experiment_alone, ("experiment", *READING)),
)
"""Every check across sections, and the sections that it reads."""
