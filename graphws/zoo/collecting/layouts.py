"""The closed table of layouts, in the order in which a folder is tried."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from graphws.checkpoints.state_dict import SUFFIXES
from graphws.errors import UsageError, ZooError, nearest
from graphws.zoo.collecting import inr_zoos, model_zoos, plain_folders, policies, small_cnn_zoo
from graphws.zoo.collecting.layout import Layout

LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout
    for layout in (
        small_cnn_zoo.SMALL_CNN_ZOO,
        model_zoos.MODEL_ZOOS,
        inr_zoos.DWSNETS,
        inr_zoos.NEURAL_GRAPHS,
        inr_zoos.NFN,
        plain_folders.ADAPTERS,
        plain_folders.HUGGING_FACE,
        policies.SB3,
        plain_folders.ONNX,
        plain_folders.NETWORKS,
        plain_folders.STATE_DICTS,
        policies.ESTOOL,
    )
}


def layout_of(folder: Path, name: str | None = None) -> Layout:
    """The layout of a folder: the one that is named, else the first that fits.

    Raises:
        UsageError: On a name that is none.
        ZooError: Where there is no such folder, or nothing in it is known.
    """
    if name is not None and name not in LAYOUTS:
        raise UsageError(f"no layout {name!r}; there are {', '.join(LAYOUTS)}" + nearest(name, LAYOUTS))
    if not folder.is_dir():
        raise ZooError(f"{folder}: no such folder")
    if name is not None:
        return LAYOUTS[name]
    found = next((layout for layout in LAYOUTS.values() if layout.fits(folder)), None)
    if found is None:
        raise ZooError(f"{folder}: no checkpoints in it ({', '.join(SUFFIXES)}), and nothing else that is known")
    return found
