"""From a file to a `Spec`, or to everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from graphws.errors import nearest
from graphws.spec.checks import violations
from graphws.spec.dump import dump_spec
from graphws.spec.inheritance import Resolution, inherit_sections
from graphws.spec.overlay import lay
from graphws.spec.problems import Document, InvalidSpec, Problem
from graphws.spec.published import PublishedSection
from graphws.spec.reader import read_text
from graphws.spec.scales import chosen, locations, overlays, scaled, unscaled
from graphws.spec.schema import Spec
from graphws.spec.shipped import find_shipped, shipped_specs
from graphws.spec.sweep import in_words, point_tree
from graphws.spec.tree import Mapping, location_of, plain, without
from graphws.spec.validation_errors import Mistake, mistakes


def load_spec(path: str | Path, overrides: Iterable[str] = (), scale: str | None = None) -> Spec:
    """Read, resolve and validate a spec.

    Args:
        path: A file, or the name of a shipped spec.
        overrides: Texts ``a.b=c``, laid over the spec, and the scale, in their order; the values are YAML.
        scale: The one of the spec's `scales` to take, before all that the spec or an override says.

    Raises:
        InvalidSpec: (a `SpecError`) with every problem, each as ``file:line:column: what`` and the line itself.
    """
    name = str(path)
    file = Path(path)
    try:
        exists = file.exists()
        shipped = None if exists else find_shipped(name)
    except (OSError, ValueError) as error:  # too long, or with a NUL
        brief = name if len(name) <= 80 else f"{name[:60]}… ({len(name):,} characters)"
        raise InvalidSpec([Problem(f"{brief}: cannot be read: {getattr(error, 'strerror', None) or error}")]) from None
    if not exists:
        if shipped is None:
            known = shipped_specs()
            hint = nearest(name.removesuffix(".yaml"), known)
            raise InvalidSpec([Problem(f"{name}: there is no such file; shipped specs: {', '.join(known)}{hint}")])
        file, name = shipped, shipped.name
    resolution = Resolution()
    return _spec(resolution.file(file, name), resolution, overrides, scale)


def parse_spec(text: str, name: str = "<text>", overrides: Iterable[str] = (), scale: str | None = None) -> Spec:
    """Read and validate a spec from a text; as `load_spec`, but it can extend shipped specs only."""
    resolution = Resolution(documents=[name])
    tree, resolution.problems = read_text(Document(name, text))
    folder = Path(__file__).parent  # holds no specs
    return _spec(resolution.over_parent(tree, folder / "text", [folder / "text"]), resolution, overrides, scale)


def _spec(tree: Mapping, resolution: Resolution, overrides: Iterable[str], scale: str | None) -> Spec:
    above = [resolution.override(number, text) for number, text in enumerate(overrides, 1)]
    if scale is not None:
        above.append(resolution.scale(scale))
    laid, known = _over(tree, above, []), resolution.problems
    table = overlays(laid, known)
    name = chosen(laid, table, known)
    resolved = _over(tree if name is None else scaled(tree, name, table[name], known), above, known)
    spec, problems = _look(unscaled(resolved), resolution)
    written = _look(unscaled(tree), resolution)[1] if len(table) > (name is not None) else []
    for other in (each for each in table if each != name):
        problems += _of_overlay(tree, other, table[other], resolution, [*problems, *written])
    if problems or spec is None:
        raise InvalidSpec(_in_order(problems, resolution.documents))
    return spec


def _over(tree: Mapping, above: Iterable[Mapping], problems: list[Problem]) -> Mapping:
    for each in above:
        if each.entries:
            tree = lay(tree, each, problems)
    return tree


def _of_overlay(
    tree: Mapping, name: str, overlay: Mapping, resolution: Resolution, known: Sequence[Problem]
) -> list[Problem]:
    """What is wrong only where a scale is chosen that is not."""
    found: list[Problem] = []
    laid = scaled(tree, name, overlay, found)
    found += _look(laid, resolution)[1]
    here = set(locations(overlay))
    return [
        problem if problem.location in here else Problem(f"in the scale {name!r}: {problem.message}", problem.location)
        for problem in found
        if problem not in known
    ]


def _look(tree: Mapping, resolution: Resolution) -> tuple[Spec | None, list[Problem]]:
    """The spec that a tree without scales makes, at every point of its sweep, and all that is wrong."""
    tree = inherit_sections(tree)
    spec, problems = _one(tree, resolution)
    if spec is None or spec.sweep is None or any(spec.sweep.violations(())):
        return spec, problems
    here = set(locations(tree.entries["sweep"].value))
    found: dict[Problem, None] = {}
    for position, value in enumerate(spec.sweep.values):
        for problem in _one(point_tree(tree, spec, position), resolution)[1]:
            what = f"at {spec.sweep.key} = {in_words(value)} of the sweep: {problem.message}"
            shown = problem if problem.location in here else Problem(what, problem.location)
            found |= {} if problem in problems else {shown: None}
    return spec, [*problems, *found]


def _one(tree: Mapping, resolution: Resolution) -> tuple[Spec | None, list[Problem]]:
    spec: Spec | None = None
    found: list[Mistake] = []
    try:
        spec = _validate(plain(tree))
    except ValidationError as error:
        found = mistakes(error.errors(include_url=False), tree)
    return spec, _new(resolution, found, _disagreements(spec, tree, found, resolution.incomplete))


def points(spec: Spec) -> tuple[tuple[str, Spec], ...]:
    """The specs that a sweep runs, each with the name of its folder; what is `published` is that at its value."""
    assert spec.sweep is not None
    tree, _ = read_text(Document("<sweep>", dump_spec(spec)))
    found = []
    for position, name in enumerate(spec.sweep.names()):
        point = _validate(plain(point_tree(tree, spec, position)))
        found.append((name, point.model_copy(update={"published": _at(spec, position)})))
    return tuple(found)


def _at(spec: Spec, position: int) -> PublishedSection | None:
    assert spec.sweep is not None
    if spec.published is None:
        return None
    text = in_words(spec.sweep.values[position])
    rows = {name: row.get(text) if isinstance(row, dict) else row for name, row in spec.published.rows.items()}
    return spec.published.model_copy(update={"rows": {name: row for name, row in rows.items() if row is not None}})


def _validate(data: Any) -> Spec:
    return Spec.model_validate(data, by_alias=True, by_name=False)


def _disagreements(spec: Spec | None, tree: Mapping, found: Sequence[Mistake], incomplete: bool) -> list[Problem]:
    """What the sections do not agree on, those with mistakes in them left aside."""
    broken: set[str] = set()
    if spec is None:
        broken = {str(mistake.path[0]) for mistake in found if mistake.path and not mistake.unknown}
        rest = plain(without(tree, [mistake.path for mistake in found if mistake.unknown]))
        for section in broken:
            del rest[section]
        try:
            spec = _validate({**rest, "graphws": 1})
        except ValidationError:
            return []
    if incomplete:
        return []
    return [Problem(violation.message, location_of(tree, violation.path)) for violation in violations(spec, broken)]


def _new(resolution: Resolution, found: Sequence[Mistake], disagreements: Sequence[Problem]) -> list[Problem]:
    """All problems, without those that only follow from another one."""
    problems = list(resolution.problems)
    taken = {problem.location for problem in problems}
    for mistake in found:
        follows = mistake.missing and resolution.incomplete
        if mistake.problem.location not in taken and not follows:
            problems.append(mistake.problem)
    return problems + [problem for problem in disagreements if problem.location not in taken]


def _in_order(problems: Sequence[Problem], documents: Sequence[str]) -> list[Problem]:
    """By document, in the order of reading, then by line and column."""

    def key(problem: Problem) -> tuple[int, int, int]:
        location = problem.location
        return (documents.index(location.document.name), location.line, location.column) if location else (-1, 0, 0)

    return sorted(problems, key=key)
