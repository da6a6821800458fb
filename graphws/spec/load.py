"""From a file to a `Spec`, or to everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from graphws.errors import nearest
from graphws.spec.checks import violations
from graphws.spec.inheritance import Resolution, inherit_sections
from graphws.spec.problems import Document, InvalidSpec, Problem
from graphws.spec.reader import read_text
from graphws.spec.schema import Spec
from graphws.spec.shipped import find_shipped, shipped_specs
from graphws.spec.tree import Mapping, location_of, plain, without
from graphws.spec.validation_errors import Mistake, mistakes


def load_spec(path: str | Path, overrides: Iterable[str] = ()) -> Spec:
    """Read, resolve and validate a spec.

    Args:
        path: A file, or the name of a shipped spec.
        overrides: Texts ``a.b=c``, laid over the spec in their order; the values are YAML.

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
    return _spec(resolution.file(file, name), resolution, overrides)


def parse_spec(text: str, name: str = "<text>", overrides: Iterable[str] = ()) -> Spec:
    """Read and validate a spec from a text; as `load_spec`, but it can extend shipped specs only."""
    resolution = Resolution(documents=[name])
    tree, resolution.problems = read_text(Document(name, text))
    folder = Path(__file__).parent  # holds no specs
    return _spec(resolution.over_parent(tree, folder / "text", [folder / "text"]), resolution, overrides)


def _spec(tree: Mapping, resolution: Resolution, overrides: Iterable[str]) -> Spec:
    for number, text in enumerate(overrides, 1):
        tree = resolution.override(tree, number, text)
    tree = inherit_sections(tree)
    spec: Spec | None = None
    found: list[Mistake] = []
    try:
        spec = _validate(plain(tree))
    except ValidationError as error:
        found = mistakes(error.errors(include_url=False), tree)
    problems = _new(resolution, found, _disagreements(spec, tree, found, resolution.incomplete))
    if problems or spec is None:
        raise InvalidSpec(_in_order(problems, resolution.documents))
    return spec


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
