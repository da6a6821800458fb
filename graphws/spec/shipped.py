"""The specs that come with graphws: in the wheel under ``graphws/_specs``, in a clone under ``specs``."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

SUFFIX = ".yaml"


def shipped_folder() -> Path:
    """The folder of the shipped specs."""
    package = Path(str(files("graphws")))
    packed = package / "_specs"
    return packed if packed.is_dir() else package.parent / "specs"


def shipped_specs() -> tuple[str, ...]:
    """Names of the shipped specs that can be run; parts of them, under ``base/``, are left out."""
    return tuple(sorted(path.stem for path in shipped_folder().glob(f"*{SUFFIX}")))


def find_shipped(name: str) -> Path | None:
    """The file of a shipped spec, by its name with or without ``.yaml``, or None."""
    folder = shipped_folder().resolve()
    path = (folder / f"{name.removesuffix(SUFFIX)}{SUFFIX}").resolve()
    return path if path.is_relative_to(folder) and path.is_file() else None
