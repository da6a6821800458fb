"""Figures of a latent action: what they show, read off the figure itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from graphws.actions.measures.categories import CATEGORIES
from graphws.actions.measures.layer_errors import DecoyFigures, LayerFigures
from graphws.graph import Monomial
from graphws.report.actions_figures import MOST_FILTERS, draw_categories, draw_errors, draw_filters, filter_order
from graphws.report.figures import png


def layer(space: str, k_error: float, gl_error: float | None = None, **rivals: DecoyFigures) -> LayerFigures:
    kinds = torch.tensor([0, 2, 2, 5])
    return LayerFigures(
        space=space, size=4, action="signed", k_error=k_error, weight_error=k_error, cumulative=None, gl_error=gl_error,
        gl_defect=None, nu=None, nu_low=None, defect=0.0, matched=0.75, carried=0.75, unmatched=0.0, negated=0.0,
        categories={"m": {name: int((kinds == k).sum()) for k, name in enumerate(CATEGORIES)}}, kinds={"m": kinds},
        rivals=rivals,
    )  # fmt: skip


def heights(figure: object, label: str) -> list[float]:
    """The errors drawn in the colour of a label, from left to right."""
    axes = figure.axes[0]  # type: ignore[attr-defined]
    named = next(line for line in axes.get_lines() if line.get_label() == label)
    same = [line for line in axes.get_lines() if line.get_color() == named.get_color()]
    return [float(line.get_ydata()[0]) for line in same]


def test_errors_stand_beside_decoys_on_a_linear_axis() -> None:
    decoys = {"a": DecoyFigures(0.8, 0.1, 0.1), "b": DecoyFigures(0.7, 0.2, 0.2)}
    figure = draw_errors([layer("one", 0.1, 0.05, **decoys), layer("two", 0.3, None, **decoys)])
    assert figure.axes[0].get_yscale() == "linear"
    assert heights(figure, "by neurons (K-error)") == [0.1, 0.3]
    assert heights(figure, "by a matrix (GL-error)") == [0.05]
    assert heights(figure, "decoys") == [0.8, 0.7, 0.8, 0.7]
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["one", "two"]
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["decoys", "by neurons (K-error)", "by a matrix (GL-error)"]


def test_zeros_do_not_stretch_the_axis() -> None:
    """An error of 0 stands below all others, on a line that says so, not sixteen decades below."""
    figure = draw_errors(
        [layer("one", 0.18, a=DecoyFigures(0.9, 0.0, 0.0)), layer("two", 3e-16, a=DecoyFigures(0.4, 0.0, 0.0))]
    )
    assert figure.axes[0].get_yscale() == "log"
    assert heights(figure, "by neurons (K-error)") == [0.18, pytest.approx(0.045)]
    assert [text.get_text() for text in figure.axes[0].texts] == ["0"]
    small = draw_errors([layer("one", 1e-7, a=DecoyFigures(0.9, 0.0, 0.0))])
    assert heights(small, "by neurons (K-error)") == [1e-7]


def test_decoys_on_weights_are_called_so() -> None:
    figure = draw_errors([layer("one", 0.1, a=DecoyFigures(0.9, 0.0, 0.0, weights=True))])
    assert heights(figure, "decoys, by weights") == [0.9]


def test_categories_are_shares_beside_the_best_decoy() -> None:
    figure = draw_categories([layer("one", 0.1, a=DecoyFigures(0.9, 0.25, 0.25)), layer("two", 0.1)], "m")
    widths = [patch.get_width() for patch in figure.axes[0].patches]  # type: ignore[attr-defined]
    assert widths[: len(CATEGORIES)] == [25.0, 0.0, 50.0, 0.0, 0.0, 25.0]
    assert "decoys: 25% matched" in [text.get_text() for text in figure.axes[0].texts]


def test_partners_stand_side_by_side() -> None:
    kinds = torch.tensor([2, 5, 0, 2, 2, 2])
    swap = Monomial(torch.tensor([5, 1, 2, 4, 3, 0]))
    assert filter_order(kinds, swap) == [2, 0, 5, 3, 4, 1]


@pytest.mark.parametrize("shape", [(3, 4), (1, 3, 4), (3, 2, 2)])
def test_filters_are_drawn_each_once(shape: tuple[int, ...]) -> None:
    weight = torch.randn(5, 12, generator=torch.Generator().manual_seed(0))
    kinds, swap = torch.tensor([0, 2, 2, 5, 3]), Monomial(torch.tensor([0, 2, 1, 3, 4]))
    figure = draw_filters(weight, shape, kinds, swap)
    images = figure.axes[0].get_images()
    assert len(images) == 5
    first = images[0].get_array()
    wanted = weight[0] / weight[0].abs().max() / 2 + 0.5
    drawn = wanted.reshape(shape).movedim(0, 2) if shape[0] == 3 and len(shape) == 3 else wanted.reshape(shape[-2:])
    torch.testing.assert_close(torch.as_tensor(first).double(), drawn.double())
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["self-symmetric (1)", "mirrored (2)", "mirrored+negated (1)", "none (1)"]
    assert png(figure).startswith(b"\x89PNG")


def test_of_many_filters_the_first_are_drawn() -> None:
    many = MOST_FILTERS + 9
    figure = draw_filters(torch.ones(many, 4), (2, 2), torch.zeros(many).long(), Monomial(torch.arange(many)))
    assert len(figure.axes[0].get_images()) == MOST_FILTERS


def test_layers_without_decoys_are_drawn_too() -> None:
    bare = replace(layer("one", 0.1), rivals={})
    assert heights(draw_errors([bare]), "by neurons (K-error)") == [0.1]
