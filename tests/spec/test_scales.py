"""Scales, sweeps and published figures: what a spec with them comes to."""

from __future__ import annotations

import pytest

from graphws.spec import InvalidSpec, dump_spec, load_spec, parse_spec, points, shipped_folder, shipped_specs
from graphws.spec.reader import read_file
from graphws.spec.tree import Mapping, find

SPEC = """
graphws: 1
train: {epochs: 7, seeds: [1, 2], optimizer: {lr: [0.1, 0.2]}}
model: {kind: dwsnet, layers: 2}
compare:
  - {name: a, model: {kind: mlp, width: 8}, train: {epochs: 3}}
  - {name: b, model: {kind: mlp}}
  - {name: c, model: {kind: trees}}
scales:
  small:
    train: {epochs: 2, seeds: [5]}
    compare: {a: {model: {width: 4}, train: {optimizer: {lr: 0.5}}}, c: null}
  other: {model: {kind: mlp, width: 3}, compare: []}
"""


def test_no_scale_is_laid_over_unless_it_is_chosen() -> None:
    spec = parse_spec(SPEC)
    assert (spec.train.epochs, spec.scaled, spec.scales, spec.scale, len(spec.compare)) == (7, None, None, None, 3)


@pytest.mark.parametrize("how", [{"scale": "small"}, {"overrides": ["scale=small"]}, {}])
def test_three_ways_to_choose_a_scale(how: dict) -> None:
    spec = parse_spec(SPEC if how else SPEC + "scale: small\n", **how)
    assert (spec.scaled, spec.train.epochs, spec.train.seeds, spec.train.optimizer.lr) == ("small", 2, (5,), (0.1, 0.2))
    assert [baseline.name for baseline in spec.compare] == ["a", "b"]
    first = spec.compare[0]
    assert (first.model.width, first.train.epochs, first.train.optimizer.lr, first.train.seeds) == (4, 3, 0.5, (5,))


def test_lists_and_other_kinds_replace_and_overrides_come_last() -> None:
    spec = parse_spec(SPEC, overrides=["model.width=9", "train.epochs=1"], scale="other")
    assert (spec.model.kind, spec.model.width, spec.compare, spec.train.epochs) == ("mlp", 9, (), 1)


def test_the_command_line_wins_and_null_is_no_scale() -> None:
    assert parse_spec(SPEC + "scale: small\n", overrides=["scale=null"]).scaled is None
    assert parse_spec(SPEC + "scale: small\n", overrides=["scale=small"], scale="other").scaled == "other"


def test_a_resolved_spec_is_itself_again() -> None:
    for scale in (None, "small", "other"):
        text = dump_spec(parse_spec(SPEC, scale=scale))
        assert "scales" not in text
        assert dump_spec(parse_spec(text)) == text
        assert parse_spec(text) == parse_spec(SPEC, scale=scale)


def test_a_scale_of_a_parent_can_be_changed(tmp_path) -> None:
    (tmp_path / "a.yaml").write_text(SPEC)
    (tmp_path / "b.yaml").write_text(
        "extends: a.yaml\nscales: {small: {train: {epochs: 4}}, tiny: {train: {epochs: 1}}}"
    )
    assert (
        load_spec(tmp_path / "b.yaml", scale="small").train
        == load_spec(tmp_path / "a.yaml", ["train.epochs=4"], "small").train
    )
    assert (
        load_spec(tmp_path / "b.yaml", scale="tiny").compare == parse_spec(SPEC, overrides=["train.epochs=1"]).compare
    )


def test_a_wrong_override_is_said_once_and_does_not_touch_other_scales() -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_spec(SPEC, overrides=["train.epoch=1"])
    assert [problem.location.document.name for problem in caught.value.problems] == ["--set 1"]
    assert parse_spec(SPEC, overrides=["model.layers=3"]).model.layers == 3, "the scale `other` has no layers"


def test_a_mistake_of_the_spec_is_not_said_for_every_scale() -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_spec(SPEC.replace("layers: 2", "layers: two"))
    assert len(caught.value.problems) == 1


def test_a_mistake_that_only_a_scale_brings_out_names_it() -> None:
    text = "graphws: 1\nmodel: {kind: dwsnet, heads: 4, pooling: attention}\nscales: {odd: {model: {channels: 6}}}\n"
    with pytest.raises(InvalidSpec, match=r"<text>:2:30: in the scale 'odd': model\.heads is 4, which does not divide"):
        parse_spec(text)
    with pytest.raises(InvalidSpec, match=r"<text>:2:30: model\.heads is 4"):
        parse_spec(text, scale="odd")


def test_too_many_scales() -> None:
    text = "graphws: 1\nscales: {" + ", ".join(f"s{k}: {{}}" for k in range(17)) + "}\n"
    with pytest.raises(InvalidSpec, match="a spec has at most 16 scales, got 17"):
        parse_spec(text)


def test_an_unknown_scale_of_the_command_line() -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_spec(SPEC, scale="smal")
    assert str(caught.value) == (
        "--scale:1:1: no scale 'smal'; there are small, other; did you mean 'small'?\n  smal\n  ^"
    )


@pytest.mark.parametrize("name", shipped_specs())
def test_every_scale_of_a_shipped_spec(name: str) -> None:
    tree, _ = read_file(shipped_folder() / f"{name}.yaml", name)
    found = find(tree, ("scales",))
    for scale in found.entries if isinstance(found, Mapping) else ():
        spec = load_spec(name, scale=scale)
        assert spec.scaled == scale
        assert parse_spec(dump_spec(spec)) == spec


SWEEP = """
graphws: 1
name: points
input: {kind: zoo, path: zoos/a}
train: {epochs: 7}
compare:
  - {name: a, model: {kind: mlp}, train: {batch_size: 8}}
  - {name: b, model: {kind: mlp}, train: {epochs: 3}}
  - {name: c, model: {kind: mlp}}
sweep: {key: train.epochs, values: [1, 20]}
published:
  source: Table 1
  unit: 0.01
  rows: {a: {"1": 3, "20": [4, 0.5]}, d: {"20": 50}, e: 7}
"""


def test_points_share_what_baselines_share_with_the_spec() -> None:
    spec = parse_spec(SWEEP)
    found = dict(points(spec))
    assert list(found) == ["1", "20"]
    point = found["20"]
    assert (point.train.epochs, point.sweep) == (20, None)
    assert [baseline.train and baseline.train.epochs for baseline in point.compare] == [20, 3, None]
    assert point.compare[0].train.batch_size == 8
    assert [figures.published.figures() for figures in found.values()] == [
        {"a": (0.03, None), "e": (0.07, None)},
        {"a": (0.04, 0.005), "d": (0.5, None), "e": (0.07, None)},
    ]
    for each in found.values():
        assert parse_spec(dump_spec(each)) == each


def test_a_stored_sweep_has_the_same_points() -> None:
    spec = parse_spec(SWEEP)
    stored = parse_spec(dump_spec(spec))
    assert stored == spec
    assert points(stored) == points(spec)


def test_a_sweep_over_a_key_of_one_baseline() -> None:
    text = SWEEP.replace("train.epochs, values: [1, 20]", "compare.b.model.width, values: [4, 5]")
    spec = parse_spec(text, overrides=["published=null"])
    assert [[baseline.model.width for baseline in point.compare] for _, point in points(spec)] == [
        [128, 4, 128], [128, 5, 128],
    ]  # fmt: skip


def test_values_that_are_lists_or_nothing() -> None:
    text = "graphws: 1\nzoo: {}\nsweep: {key: zoo.network.hidden, values: [[8], [8, 8]]}\n"
    assert [(name, point.zoo.network.hidden) for name, point in points(parse_spec(text))] == [
        ("8", (8,)),
        ("8-8", (8, 8)),
    ]
    text = "graphws: 1\ninput: {kind: zoo, path: z}\nsweep: {key: input.training, values: [100, null]}\n"
    assert [(name, point.input.training) for name, point in points(parse_spec(text))] == [("100", 100), ("null", None)]


def test_a_sweep_in_a_scale_is_checked_too() -> None:
    text = SWEEP.replace("published:", "scales: {small: {sweep: {values: [1, 0]}}}\npublished:")
    with pytest.raises(InvalidSpec, match=r"train\.epochs must be an integer of at least 1, got 0"):
        parse_spec(text)
