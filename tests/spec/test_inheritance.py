"""Inheritance and overrides."""

from __future__ import annotations

import textwrap

import pytest

from graphws.errors import SpecError
from graphws.spec import InvalidSpec, load_spec, parse_spec


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    return write


def test_mappings_merge_and_lists_replace(write):
    write("base/a.yaml", "graphws: 1\ntrain: {epochs: 7, seeds: [1, 2], optimizer: {lr: 0.5}}\n")
    write("b.yaml", "extends: base/a.yaml\ntrain: {seeds: [3], optimizer: {weight_decay: 0}}\n")
    train = load_spec("b.yaml").train
    assert (train.epochs, train.seeds, train.optimizer.lr, train.optimizer.weight_decay) == (7, (3,), 0.5, 0)


def test_another_kind_replaces_the_options(write):
    write("a.yaml", "graphws: 1\nmodel: {kind: dwsnet, layers: 2, pooling: mean}\n")
    write("b.yaml", "extends: a.yaml\nmodel: {kind: mlp, width: 8}\n")
    write("c.yaml", "extends: a.yaml\nmodel: {kind: dwsnet, channels: 8}\n")
    assert load_spec("b.yaml").model.layers == 4
    assert (load_spec("c.yaml").model.layers, load_spec("c.yaml").model.pooling) == (2, "mean")


def test_grandparents_are_relative_to_their_children(write):
    write("sub/deeper/a.yaml", "graphws: 1\nname: a\n")
    write("sub/b.yaml", "extends: deeper/a.yaml\n")
    write("c.yaml", "extends: sub/b.yaml\n")
    write("sub/deeper/up.yaml", "extends: ../b.yaml\n")
    write("d.yaml", "extends: sub/deeper/up.yaml\n")
    assert load_spec("c.yaml").name == load_spec("d.yaml").name == "a"


def test_the_parent_is_gone_once_resolved(write):
    write("a.yaml", "graphws: 1\n")
    write("b.yaml", "extends: a.yaml\n")
    assert load_spec("b.yaml") == load_spec("a.yaml")


def test_a_link_out_of_the_folder_is_refused(write, tmp_path):
    write("outside/a.yaml", "graphws: 1\n")
    write("inside/b.yaml", "extends: link.yaml\n")
    (tmp_path / "inside/link.yaml").symlink_to(tmp_path / "outside/a.yaml")
    with pytest.raises(InvalidSpec, match=r"'link\.yaml' leads out of the folder of the spec"):
        load_spec("inside/b.yaml")


def test_any_spec_may_extend_a_shipped_one(write):
    write("a.yaml", "graphws: 1\nextends: base/dwsnet.yaml\nmodel: {channels: 3}\n")
    assert load_spec("a.yaml").model.channels == 3
    assert parse_spec("graphws: 1\nextends: base/dwsnet.yaml\n").model.layers == 4


def test_a_text_extends_no_files(write):
    write("a.yaml", "graphws: 1\n")
    with pytest.raises(InvalidSpec, match=r"there is no file 'a\.yaml' beside this spec"):
        parse_spec("extends: a.yaml\n")


def test_baselines_inherit_the_training():
    spec = parse_spec(
        "graphws: 1\n"
        "train: {epochs: 7, seeds: [1, 2]}\n"
        "compare:\n"
        "  - {name: a, model: {kind: mlp}, train: {seeds: [3]}}\n"
        "  - {name: b, model: {kind: mlp}}\n"
    )
    assert (spec.compare[0].train.epochs, spec.compare[0].train.seeds) == (7, (3,))
    assert spec.compare[1].train is None


def test_overrides():
    spec = parse_spec(
        "graphws: 1\nmodel: {kind: dwsnet}\n",
        overrides=["train.optimizer.lr=1e-4", "model.channels=8", "train.seeds=[4, 5]", "name=no", "train.epochs= 3"],
    )
    assert (spec.train.optimizer.lr, spec.model.channels, spec.train.seeds) == (1e-4, 8, (4, 5))
    assert (spec.name, spec.train.epochs) == ("no", 3)


def test_overrides_follow_one_another():
    spec = parse_spec(
        "graphws: 1\nmodel: {kind: dwsnet, layers: 2}\n",
        overrides=["model.kind=mlp", "model.width=3", "model.width=5", "augment={noise: 0.1}", "augment.dropout=0.2"],
    )
    assert (spec.model.kind, spec.model.width, spec.model.layers) == ("mlp", 5, 4)
    assert (spec.augment.noise, spec.augment.dropout) == (0.1, 0.2)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "model.chanels=3",
            """\
            --set 1:1:7: unknown key 'chanels' in model; did you mean 'channels'?
              model.chanels=3
                    ^""",
        ),
        (
            "model.channels=three",
            """\
            --set 1:1:16: model.channels must be an integer of at least 1, got 'three'
              model.channels=three
                             ^""",
        ),
        (
            "model.heads",
            """\
            --set 1:1:1: an override is key.key=value, got 'model.heads'
              model.heads
              ^""",
        ),
        (
            "model..heads=1",
            """\
            --set 1:1:1: an override is key.key=value, got 'model..heads=1'
              model..heads=1
              ^""",
        ),
        (
            "name=",
            """\
            --set 1:1:5: nothing after '='; write name=null or name=''
              name=
                  ^""",
        ),
        (
            "extends=a.yaml",
            """\
            --set 1:1:1: extends cannot be set; name the other spec instead
              extends=a.yaml
              ^""",
        ),
        (
            "train.seeds=[1, 2",
            """\
            --set 1:1:18: not valid YAML: while parsing a flow sequence, expected ',' or ']', but got '<stream end>'
              train.seeds=[1, 2
                               ^""",
        ),
        (
            "train.seeds=&a [1]",
            """\
            --set 1:1:13: anchor &a: a spec has no references; remove it
              train.seeds=&a [1]
                          ^""",
        ),
        (
            "train.epochs.x=1",
            """\
            --set 1:1:14: train.epochs must be an integer of at least 1, got a mapping
              train.epochs.x=1
                           ^""",
        ),
        (
            "compare.0.name=x",
            """\
            --set 1:1:9: no baseline '0' to change; compare has no baselines
              compare.0.name=x
                      ^""",
        ),
    ],
)
def test_a_wrong_override(override, message):
    with pytest.raises(InvalidSpec) as caught:
        parse_spec("graphws: 1\nmodel: {kind: dwsnet}\n", overrides=[override])
    assert str(caught.value) == textwrap.dedent(message)


def test_problems_of_file_and_overrides_come_in_order():
    with pytest.raises(InvalidSpec) as caught:
        parse_spec("graphws: 1\nnam: x\n", "a.yaml", overrides=["trian.x=1", "zo=1"])
    assert [str(problem).partition(": ")[0] for problem in caught.value.problems] == [
        "a.yaml:2:1",
        "--set 1:1:1",
        "--set 2:1:1",
    ]


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("x" * 5000 + ".yaml", repr("x" * 60 + "…") + " (5,005 characters) is no name that a file can have"),
        ("y" * 300 + ".yaml", repr("y" * 60 + "…") + " (305 characters) cannot be read: File name too long"),
        (r'"a\0b.yaml"', r"'a\x00b.yaml' is no name that a file can have"),
        (r'"a\nb.yaml"', r"'a\nb.yaml' is no name that a file can have"),
    ],
)
def test_a_parent_whose_name_no_file_can_have(tmp_path, target, reason):
    (tmp_path / "spec.yaml").write_text(f"extends: {target}\n")
    with pytest.raises(SpecError) as caught:
        load_spec(tmp_path / "spec.yaml")
    assert str(caught.value).splitlines()[0] == f"{tmp_path / 'spec.yaml'}:1:10: extends: {reason}"


def test_a_spec_whose_name_no_file_can_have():
    with pytest.raises(SpecError) as caught:
        load_spec("x" * 5000)
    assert str(caught.value) == "x" * 60 + "… (5,000 characters): cannot be read: File name too long"
    with pytest.raises(SpecError, match=r"^a\\x00b: cannot be read: embedded null byte$"):
        load_spec("a\0b")
