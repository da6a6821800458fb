"""Figures of experiments: what is drawn where, and which heads are framed."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex

from graphws.report.actions_figures import COLOURS
from graphws.report.figures import png
from graphws.report.symmetry_figures import draw_attention, draw_training

RNG = np.random.default_rng(0)


def framed(axes) -> bool:
    colours = {to_hex(spine.get_edgecolor(), keep_alpha=True) for spine in axes.spines.values()}
    assert len(colours) == 1
    return colours == {COLOURS["mirrored"] + "ff"}


@pytest.mark.parametrize("channels", [1, 3])
def test_attention_maps_stand_beside_their_picture_and_permuting_heads_are_framed(channels: int) -> None:
    pictures = RNG.random((2, 4, 4, channels))
    maps, moved_maps = RNG.random((2, 3, 2, 2)), RNG.random((2, 3, 2, 2))
    figure = draw_attention(pictures, pictures[:, :, ::-1], maps, moved_maps, [0, 2])
    assert len(figure.axes) == 2 * 2 * 4
    shown = [axes.images[0].get_array() for axes in figure.axes]
    np.testing.assert_allclose(shown[0], pictures[0].squeeze())
    np.testing.assert_allclose(shown[4], pictures[0, :, ::-1].squeeze())
    for head in range(3):
        np.testing.assert_allclose(shown[1 + head], maps[0, head])
        np.testing.assert_allclose(shown[5 + head], moved_maps[0, head])
        np.testing.assert_allclose(shown[9 + head], maps[1, head])
    assert [framed(axes) for axes in figure.axes] == 4 * [False, True, False, True]
    assert [axes.get_title() for axes in figure.axes[:4]] == ["", "head 1", "head 2", "head 3"]
    assert [axes.get_ylabel() for axes in figure.axes[::4]] == ["picture", "moved", "picture", "moved"]
    assert png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize(("quality", "title"), [("r2", "R², test pictures"), ("accuracy", "accuracy, test pictures")])
def test_the_training_says_where_the_equivariance_loss_begins(quality: str, title: str) -> None:
    rows = [{"step": 10.0 * k, "train_loss": 1.0 / k, quality: 0.1 * k, "equivariance": 0.5**k} for k in range(1, 5)]
    figure = draw_training(rows, 20)
    titles = ["training loss", title, "‖f(gx) − g f(x)‖ / ‖f − mean‖"]
    assert [axes.get_title() for axes in figure.axes] == titles
    for axes, name in zip(figure.axes, ("train_loss", quality, "equivariance"), strict=True):
        curve, line = axes.get_lines()
        np.testing.assert_allclose(curve.get_xydata(), [[row["step"], row[name]] for row in rows])
        assert list(line.get_xdata()) == [20, 20]
    assert [axes.get_yscale() for axes in figure.axes] == ["linear", "linear", "log"]
    exact = [{**row, "equivariance": 0.0} for row in rows]
    assert draw_training(exact, 20).axes[2].get_yscale() == "linear"
