"""How a run was asked for, kept in ``run.json`` so that a page of results can say the command."""

from __future__ import annotations

import re
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from graphws.shown import Shown

_FOLDERS = re.compile(r"(?<![\w.~/-])(?:~?/|[A-Za-z]:[\\/])[\w.~-][\w.~/\\-]*")


@dataclass(frozen=True, repr=False)
class Request(Shown):
    """A spec and what was laid over it.

    Attributes:
        spec: The name of a shipped spec, or of a file without its folder.
        scale: As ``--scale`` gave it.
        overrides: As ``--set`` gave them.
    """

    spec: str
    scale: str | None = None
    overrides: tuple[str, ...] = ()

    @staticmethod
    def of(spec: str, scale: str | None, overrides: tuple[str, ...]) -> Request:
        """The request of a command line."""
        return Request(Path(spec).name, scale, overrides)

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` is the inverse."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: object) -> Request | None:
        """A request as it was saved; None where there is none, or no whole one."""
        try:
            return TypeAdapter(cls).validate_python(content)
        except ValidationError:
            return None

    def command(self) -> str:
        """What to type for the same run.

        >>> Request("digits-inr", "small", ("train.seeds=[0, 1]",)).command()
        "graphws run digits-inr --scale small --set 'train.seeds=[0, 1]'"
        """
        words = ["graphws", "run", self.spec]
        words += [] if self.scale is None else ["--scale", self.scale]
        for override in self.overrides:
            words += ["--set", override]
        return shlex.join(words)

    def placeless(self) -> Request:
        """The same without folders of a machine: of an absolute path its last part."""
        return Request(self.spec, self.scale, tuple(map(placeless, self.overrides)))


def placeless(text: str) -> str:
    """A text whose absolute paths are cut down to their last part.

    >>> placeless("zoo.path=/home/me/zoos/mnist"), placeless("input.path=zoos/mnist"), placeless("1/2 of https://a.org/b")
    ('zoo.path=mnist', 'input.path=zoos/mnist', '1/2 of https://a.org/b')
    """
    return _FOLDERS.sub(lambda match: re.split(r"[\\/]", match[0].rstrip("\\/"))[-1], text)
