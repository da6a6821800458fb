"""What a ``kind:`` may name: sections of graphws and of installed packages, by one protocol.

A section that comes in several kinds is a pydantic model with a field ``kind`` and a method ``build``, which makes what
the section stands for.  One object therefore serves ``graphws check``, the JSON Schema and the run.

=====================================  ===================  ================  ======================================
key of a spec                          entry-point group    base class        what ``build`` makes
=====================================  ===================  ================  ======================================
``zoo.source``, ``experiment.source``  ``graphws.sources``  `ZooSource`       the samples of a `SourceSection`, to which
                                                                              networks are fitted; see below
``input``                              ``graphws.inputs``   `InputSection`    the graph of the networks that are read
``model``, ``compare[].model``         ``graphws.models``   `ModelSection`    the module that reads networks
``head``                               ``graphws.heads``    `HeadSection`     the module from invariants to the answer
``task``                               ``graphws.tasks``    `TaskSection`     the loss, the predictions, the metrics
``task.target`` of networks that run   ``graphws.targets``  `TargetSection`   the same, by what networks compute
``task.target.change``                 ``graphws.edits``    `EditSection`     the map from pictures to edited ones
=====================================  ===================  ================  ======================================

An installed package adds a kind by an entry point that names its section (``examples/plugin`` is such a package):

    [project.entry-points."graphws.models"]
    capsules = "mypackage.specs:CapsulesModel"     # a ModelSection with  kind: Literal["capsules"]

A source of samples is a `SourceSection`; what makes networks in another way than one a sample is a `ZooSource`, with a
method ``fitting`` in the place of ``build``, and only ``zoo.source`` takes it.

The kinds that graphws has itself cannot be taken over, and a spec never names a Python path.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from graphws.errors import UsageError
from graphws.spec.section import Section


class Kinds:
    """Annotation of a key that takes one of several sections, named by ``kind:``.

    Args:
        group: Entry points of this group add kinds.
        base: What every kind is.
        own: The kinds that graphws has itself.
        beside: What entry points of the group may be as well, where another key takes them; they are left out.
    """

    def __init__(
        self, group: str, base: type[Section], *own: type[Section], beside: type[Section] | None = None
    ) -> None:
        self.group, self.base, self.own, self.beside = group, base, own, beside

    def table(self) -> dict[str, type[Section]]:
        """The sections by kind, graphws's own first, then those of installed packages.

        Raises:
            UsageError: On an entry point that does not load, is no section of its kind, cannot be built, or takes a
                kind that is there.
        """
        table = {str(kind_of(section)): section for section in self.own}
        for point in entry_points(group=self.group):
            if point.name in table:
                raise UsageError(
                    f"{_where(point)} takes a kind that exists already; rename it or uninstall its package"
                )
            section = self._load(point)
            if issubclass(section, self.base):
                table[point.name] = section
        return table

    def _load(self, point: EntryPoint) -> type[Section]:
        try:
            section = point.load()
        except Exception as error:
            reason = str(error) or type(error).__name__
            raise UsageError(f"{_where(point)} does not load: {reason}; repair or uninstall its package") from error
        allowed = (self.base,) if self.beside is None else (self.base, self.beside)
        if not (isinstance(section, type) and issubclass(section, allowed) and kind_of(section) == point.name):
            raise UsageError(
                f"{_where(point)} must be a subclass of graphws.spec.{self.base.__name__} "
                f"with a field `kind: Literal[{point.name!r}]`"
            )
        if missing := sorted(getattr(section, "__abstractmethods__", ())):
            methods = " and ".join(f"`{name}`" for name in missing)
            raise UsageError(
                f"{_where(point)} does not define {methods}, which every graphws.spec.{self.base.__name__} has"
            )
        return section

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices = {}
        for kind, section in self.table().items():
            try:
                choices[kind] = handler.generate_schema(section)
            except Exception as error:
                if section in self.own:
                    raise
                where = f"the kind {kind!r} in {self.group!r} ({section.__module__}:{section.__qualname__})"
                raise UsageError(
                    f"{where} has fields that pydantic cannot read: {str(error).splitlines()[0]}; "
                    "repair or uninstall its package"
                ) from error
        return core_schema.tagged_union_schema(choices, discriminator="kind")


def kind_of(section: type[BaseModel]) -> str | None:
    """The one value that a section's `kind` may have, None where there is no such field."""
    field = section.model_fields.get("kind")
    values = get_args(field.annotation) if field and get_origin(field.annotation) is Literal else ()
    return values[0] if len(values) == 1 else None


def _where(point: EntryPoint) -> str:
    package = f" of the package {point.dist.name!r}" if point.dist is not None else ""
    return f"the entry point {point.name!r} in {point.group!r}{package} ({point.value})"
