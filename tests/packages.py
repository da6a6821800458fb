"""Packages that are installed as far as importlib.metadata can tell: a ``.dist-info`` folder on the path."""

from __future__ import annotations

import re
from pathlib import Path

PLUGIN = Path(__file__).parents[1] / "examples" / "plugin"


def install(folder: Path, name: str, points: str, module: str = "") -> Path:
    """A package `name` in `folder` with the entry points of `points`, and a module of that name."""
    info = folder / f"{name}-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text(points)
    if module:
        (folder / f"{name}.py").write_text(module)
    return folder


def entry_points_of(project: Path) -> str:
    """The entry points that a ``pyproject.toml`` declares, as an installed package has them."""
    text = (project / "pyproject.toml").read_text(encoding="utf-8")
    sections = re.findall(r'^\[project\.entry-points\."([^"]+)"\]\n((?:[\w-]+ = "[^"]+"\n)+)', text, re.MULTILINE)
    return "\n".join(f"[{group}]\n{points}" for group, points in sections).replace('"', "")
