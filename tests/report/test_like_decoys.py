"""A layer that does no better than decoys is told."""

from __future__ import annotations

from dataclasses import replace

from graphws.actions.measures.layer_errors import DecoyFigures, Relabelled
from graphws.report.like_decoys import like_decoys
from tests.report.test_actions_figures import layer

DECOYS = tuple(0.6 + k / 100 for k in range(19))


def test_each_figure_is_compared_with_its_own_decoys() -> None:
    rivals = {"a": DecoyFigures(0.8, 0.2, 0.2), "b": DecoyFigures(0.7, 0.75, 0.75)}
    good = replace(layer("good", 0.1), rivals={"a": rivals["a"]}, relabelled=Relabelled(0.1, DECOYS))
    assert like_decoys([good, replace(good, relabelled=None), replace(good, rivals={})]) == []
    bad = replace(good, space="bad", k_error=0.7, rivals=rivals, relabelled=Relabelled(0.9, DECOYS))
    assert like_decoys([good, bad]) == [
        "bad does no better than decoys: K-error 0.7 beside 0.7; error in weights 0.90 beside 0.60 with what it reads "
        "relabelled; carried 75% beside 75%."
    ]
    assert like_decoys([replace(bad, relabelled=None, carried=0.8)]) == [
        "bad does no better than decoys: K-error 0.7 beside 0.7."
    ]


def test_weights_are_compared_with_decoys_on_weights() -> None:
    rival = {"a": DecoyFigures(0.5, 0.0, 0.0, weights=True)}
    far = replace(layer("far", 0.1), weight_error=0.6, rivals=rival)
    assert like_decoys([far]) == ["far does no better than decoys: K-error 0.6 beside 0.5."]
    assert like_decoys([replace(far, k_error=0.9, weight_error=0.1)]) == []


def test_what_outputs_explain_is_compared_with_what_is_written() -> None:
    back = replace(layer("back", 0.1), rivals={}, relabelled=Relabelled(0.9, DECOYS), backward=Relabelled(0.61, DECOYS))
    assert like_decoys([back], ["back"]) == [
        "back does no better than decoys: error in weights 0.61 beside 0.60 with what it writes relabelled."
    ]
    assert like_decoys([replace(back, backward=Relabelled(0.1, DECOYS))], ["back"]) == []


def test_exact_layers_need_no_decoys() -> None:
    exact = replace(layer("exact", 1e-9), rivals={"a": DecoyFigures(1e-10, 1.0, 1.0)})
    assert like_decoys([exact]) == []
