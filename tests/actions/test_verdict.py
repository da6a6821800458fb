"""What the verdict makes of figures: which layers count, where a symmetry breaks, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from graphws.actions.decoys.relabelled import RELABELLINGS
from graphws.actions.measures.layer_errors import DecoyFigures, LayerFigures, Relabelled
from graphws.actions.measures.noise import NoiseFigures
from graphws.actions.verdict.reached_layers import reached_layers
from graphws.actions.verdict.verdict import Links, Verdict, WholeFigures, fit_of, judge


def evidence(error: float, least: float, count: int = RELABELLINGS) -> Relabelled:
    return Relabelled(error, (least, *[1.0] * (count - 1)) if count else ())


def layer(
    space: str, k: float, least: float = 0.8, *, rival: DecoyFigures | None = None, **more: object
) -> LayerFigures:
    """A layer of ten neurons whose error is k, where relabelled decoys reach `least`."""
    none = (None,) * 5
    found = LayerFigures(space, 10, "set", k, k, *none, 0.0, 1.0, 1.0, 0.0, 0.0, {}, {}, {"d": rival} if rival else {})
    return replace(found, **{"relabelled": evidence(k, least), **more})  # type: ignore[arg-type]


CLOSE = DecoyFigures(0.9, 0.1, 0.1)
READS = {"a": {"input"}, "b": {"a"}, "c": {"b"}, "output": {"c"}}
MOVED, FIXED = Links(READS, {"input", "output"}), Links(READS, {"input"})


def judged(
    errors: Sequence[float], links: Links = MOVED, whole: WholeFigures | None = None, **more: Sequence[object]
) -> Verdict:
    """The verdict on a chain a, b, c, output of given errors; further figures by name, one a layer."""
    layers = []
    for k, (space, error) in enumerate(zip(("a", "b", "c", "output"), errors, strict=True)):
        own = {name: values[k] for name, values in more.items()}
        layers.append(layer(space, error, rival=CLOSE, backward=evidence(error, 0.8), **own))
    layers[-1] = replace(layers[-1], action="given")
    return judge("mirror", layers[:-1], layers[-1:], links, whole)


@pytest.mark.parametrize(
    ("error", "least", "count", "fit"),
    [
        (1e-9, 1e-9, RELABELLINGS, "exact"),  # maps that fit exactly need no decoy
        (0.56, 0.8, RELABELLINGS, "found"),
        (0.57, 0.8, RELABELLINGS, None),
        (0.12, 0.15, RELABELLINGS, None),  # small, and yet no better than decoys
        (0.1, 0.8, 5, "small"),  # too few relabellings for a p-value
        (0.2, 0.8, 5, None),
        (0.1, 0.8, 0, "small"),
    ],
)
def test_squared_errors_are_at_most_half_of_those_under_relabellings(
    error: float, least: float, count: int, fit: str | None
) -> None:
    assert fit_of(layer("a", error, relabelled=evidence(error, least, count))) == fit


def test_p_values() -> None:
    assert evidence(0.1, 0.8).p_value == 1 / 20
    assert evidence(0.8, 0.8).p_value == 2 / 20  # as good counts against it
    assert evidence(1.0, 0.8).p_value == 1.0
    assert evidence(0.1, 0.8, 0).p_value == 1.0


@pytest.mark.parametrize(("noise", "fit"), [(0.31, "found"), (0.29, None), (None, "found")])
def test_an_error_on_probes_is_what_noise_would_make(noise: float | None, fit: str | None) -> None:
    amplified = layer("a", 0.6, relabelled=evidence(0.1, 0.8), noise=noise)
    assert fit_of(amplified) == fit
    assert fit_of(replace(amplified, k_error=0.14)) == "found"  # small anyway


def test_at_an_end_other_groups_are_rivals_too() -> None:
    """Smooth filters match under every move of pictures, and under no shuffled one."""
    cases = [(0.1, None, "found"), (0.3, None, None), (0.1, DecoyFigures(0.25, 0.9, 0.9), "found")]
    cases += [(0.1, DecoyFigures(0.15, 0.9, 0.9), None), (0.4, DecoyFigures(0.4, 0.3, 0.3), "found")]
    cases += [(0.4, DecoyFigures(0.4, 0.4, 0.4), None), (0.4, DecoyFigures(0.3, 0.1, 0.1), None)]
    for error, rival, fit in cases:
        at_end = layer("a", error, 2.0, rival=rival)
        assert fit_of(at_end, at_end=True) == fit
        assert fit_of(at_end) == "found"
    few = replace(layer("a", 0.4, 2.0, rival=DecoyFigures(0.7, 0.1, 0.1)), size=3)
    assert fit_of(few, at_end=True) is None  # three neurons match by chance
    assert fit_of(replace(few, size=4), at_end=True) == "found"
    in_weights = replace(layer("a", 0.1, 2.0, rival=DecoyFigures(0.5, 0.9, 0.9, weights=True)), weight_error=0.3)
    assert fit_of(in_weights, at_end=True) is None  # decoys of weights are read beside weight errors


def test_what_reads_nothing_that_moves() -> None:
    assert fit_of(layer("a", 0.1, relabelled=None)) == "found"
    assert fit_of(layer("a", 0.2, relabelled=None)) is None
    assert fit_of(layer("a", 0.0), backward=True) is None  # nothing says that outputs explain it
    query = Links({**READS, "b": ()}, {"input"})
    alone = judged([0.9, 0.0, 0.9, 0.9], query)
    assert alone.outcome == "no action found"  # it is linked to nothing


@pytest.mark.parametrize("error", [0.0, 0.1])
@pytest.mark.parametrize("on_probes", [None, 1.3])
def test_a_broken_layer_is_named(error: float, on_probes: float | None) -> None:
    """However far the function is from equivariant: layers before the break hold."""
    word, how = ("exact", "exactly") if error == 0 else ("found", "approximately")
    whole = WholeFigures(on_probes, 1.3)
    last = judged([error, error, error, 0.9], whole=whole)
    assert (last.outcome, last.breaks_at) == ("action in part", ("output",))
    assert (last.layers, last.ends) == (dict.fromkeys("abc", word), {"output": "none"})
    assert last.text.startswith(f"Action in part: mirror acts {how} up to c, and breaks at output. Identified on a (")
    middle = judged([error, 0.9, error, error], whole=whole)
    assert middle.breaks_at == ("b",)
    assert middle.layers == {"a": word, "b": "none", "c": word}
    assert f"acts {how} up to a, breaks at b, and {how} from c on. " in middle.text
    fixed = judged([error, 0.9, error, error], FIXED, whole)
    assert fixed.layers == {"a": word, "b": "none", "c": "none"}  # outputs that stay are explained by the identity
    assert "Not identified on b: error 0.9, in weights 0.9 beside 0.8 of decoys, p = 0.1; c: " in fixed.text
    assert f"c: error {error:.2g}, but nothing links it to what the group does at an end" in fixed.text
    first = judged([0.9, error, error, error], FIXED, whole)
    assert first.outcome == "no action found"
    assert first.text.startswith(
        "No action found: mirror breaks at a (error 0.9, in weights 0.9 beside 0.8 of decoys, p = 0.1); maps that fit "
        "on b and c are linked to no end."
    )
    assert set(first.layers.values()) == {"none"}


def test_exact_and_approximate_layers_side_by_side() -> None:
    found = judged([0.0, 0.1, 0.1, 0.9])
    assert " acts exactly up to a, approximately from b to c, and breaks at output. " in found.text
    split = Links({"a": {"input"}, "b": {"input"}, "c": {"a", "b"}, "output": {"c"}}, {"input"})
    other = judged([0.0, 0.9, 0.1, 0.1], split)
    assert " acts exactly on a, approximately on c and output, and breaks at b. " in other.text


def test_backward_evidence_is_needed_down_from_outputs() -> None:
    """A map that was sought so that the outputs' layer fits, fits it; that says nothing."""
    selected = [evidence(0.9, 0.8), evidence(0.9, 0.8), evidence(0.1, 0.8), evidence(0.6, 0.8)]
    layers = [layer(s, e, rival=CLOSE, backward=b) for s, e, b in zip("abc", (0.9, 0.9, 0.1), selected, strict=False)]
    end = layer("output", 0.1, rival=CLOSE, backward=selected[-1])
    assert judge("mirror", layers, [end], MOVED).outcome == "no action found"
    again = replace(end, backward=evidence(0.1, 0.8))
    assert judge("mirror", layers, [again], MOVED).layers == {"a": "none", "b": "none", "c": "found"}


def test_trivial_layers_are_named() -> None:
    def text(*trivial: bool) -> str:
        return judged([0.0] * 4, FIXED, WholeFigures(0.0, 0.0), trivial=(*trivial, False)).text

    assert text(True, True, True).endswith(" It is the trivial one: it moves no neuron.")
    assert text(False, True, True).endswith(" It acts trivially from b on: no neuron moves there.")
    assert text(False, True, False).endswith(" It acts trivially on b: no neuron moves there.")
    assert "trivial" not in text(False, False, False)
    part = judged([0.0, 0.0, 0.9, 0.9], FIXED, trivial=(False, True, True, False))
    assert part.trivial == ("b",)
    assert part.text.endswith(" It acts trivially on b: no neuron moves there.")


def test_exact_is_what_was_seen() -> None:
    exact = [1e-9] * 4
    alone = judged(exact, whole=WholeFigures(None, 1e-9)).text
    assert alone == (
        "Exact action: mirror acts on every layer by the intertwiners of its activation (largest error 1.0e-09). "
        "End to end, on random inputs, the function changes by 1e-09 of its spread."
    )
    unseen = judged(exact)
    assert unseen.outcome == "action found"
    assert unseen.text.endswith(" Nothing was seen end to end, so it is not called exact.")
    assert judged(exact, whole=WholeFigures(1e-9, 0.2)).outcome == "action found"  # exact on those probes alone
    assert judged(exact, whole=WholeFigures(None, 1e-4)).outcome == "action found"
    refuted = judged(exact, whole=WholeFigures(None, 0.2))
    assert refuted.text == (
        "No action found: the weights are symmetric, the function is not. Its outputs are 20% of their spread from "
        "where the group would have them. End to end, on random inputs, the function changes by 0.2 of its spread."
    )
    assert set(refuted.layers.values()) == {"none"}
    decoyless = judge("mirror", [layer("a", 1e-9)], [], Links({"a": {"input"}}, {"input"}), WholeFigures(None, 0.0))
    assert "; there is no decoy to compare with. " in decoyless.text


@pytest.mark.parametrize(
    ("error", "decoys", "noise", "outcome"),
    [
        (0.29, (), NoiseFigures(), "action found"),
        (0.5, (), NoiseFigures(), "no action found"),
        (0.45, (0.95,), NoiseFigures(), "action found"),  # calibrated by a decoy
        (0.45, (0.85,), NoiseFigures(), "no action found"),
        (0.2, (0.1,), NoiseFigures(), "no action found"),  # a decoy does better
        (0.7, (1.4,), NoiseFigures({}, 0.5, 0.5, 1e-9), "action found"),  # noise makes as much of a perfect action
        (0.7, (1.4,), NoiseFigures({}, 0.4, 0.4, 1e-9), "no action found"),
        (0.7, (1.4,), NoiseFigures({}, 0.7, 0.7, 0.5), "no action found"),  # the perfect one is not equivariant at all
        (0.7, (0.6,), NoiseFigures({}, 0.7, 0.7, 1e-9), "no action found"),
        (1.1, (1.4,), NoiseFigures({}, 1.1, 1.1, 1e-9), "action in part"),  # nothing is left of it in the function
        (1.1, (1.4,), NoiseFigures({}, 0.7, 0.7, 1e-9), "no action found"),  # and more than noise makes of it
        (1.1, (1.4,), NoiseFigures({}, 1.1, 1.1, 0.5), "no action found"),
    ],
)
def test_the_function_is_read_beside_decoys_and_noise(
    error: float, decoys: tuple[float, ...], noise: NoiseFigures, outcome: str
) -> None:
    found = judged([0.1] * 4, whole=WholeFigures(error, None, decoys, noise))
    assert found.outcome == outcome
    expected = f" A perfect action with as much noise would change it by {noise.end_to_end}."
    assert (expected in found.text) == (noise.perfect == 1e-9)


def test_a_layer_that_only_a_matrix_explains() -> None:
    found = judged([0.1, 0.7, 0.9, 0.9], gl_error=(None, 0.05, None, None))
    assert found.layers == {"a": "found", "b": "linear only", "c": "none"}
    assert "Not identified on b: it carries a linear action (GL-error 0.05), not one by neurons; c: " in found.text
    linear = judged([0.1, 0.7, 0.9, 0.9], gl_error=(None, 0.05, None, None), action=("linear",) * 4)
    assert "Identified on a (by a matrix; error 0.1, in weights 0.1 beside 0.8 of decoys, p = 0.05)." in linear.text
    assert "b: a matrix explains it on probes (GL-error 0.05), but none that its weights agree with" in linear.text


def test_a_layer_whose_positions_are_lost_has_none() -> None:
    stopped = Links(READS, {"input"}, {"c"}, "x2 = conv2d(x1)")
    found = judged([0.0, 0.0, 0.0, 0.9], stopped)
    assert found.layers == {"a": "exact", "b": "exact", "c": "none"}
    assert "c: the group's move does not get through x2 = conv2d(x1)" in found.text


def test_chains_of_layers_forward_and_backward() -> None:
    reads = {"a": {"input"}, "b": {"a"}, "c": {"b"}, "out": {"c"}}
    ends = {"input", "out"}
    assert reached_layers({"a", "c", "out"}, reads, ends, {"c"}) == {"a"}  # down from outputs nothing fits them
    assert reached_layers({"a", "c"}, reads, ends, {"c", "out"}) == {"a", "c", "out"}
    assert reached_layers({"a"}, reads, ends, {"out"}) == {"a", "out"}
