"""Laying one spec over another: baselines that are changed by their names."""

from __future__ import annotations

import textwrap

import pytest

from graphws.spec import InvalidSpec, Spec, dump_spec, load_spec, parse_spec

PARENT = """
graphws: 1
train: {epochs: 7, seeds: [1, 2]}
model: {kind: dwsnet, layers: 2}
compare:
  - {name: mlp, model: {kind: mlp, width: 8, layers: 2}, train: {epochs: 3}}
  - {name: trees, model: {kind: trees, depth: 4}}
  - {name: rows, model: {kind: rows}}
"""


@pytest.fixture
def child(tmp_path, monkeypatch):
    """Loads a spec that extends `PARENT`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parent.yaml").write_text(PARENT)

    def load(text: str, overrides: tuple[str, ...] = ()) -> Spec:
        (tmp_path / "child.yaml").write_text("extends: parent.yaml\n" + textwrap.dedent(text))
        return load_spec("child.yaml", overrides)

    return load


def refused(make, *arguments, **options) -> str:
    with pytest.raises(InvalidSpec) as caught:
        make(*arguments, **options)
    return str(caught.value)


def test_a_child_changes_a_baseline_by_its_name(child) -> None:
    spec = child("compare: {mlp: {model: {width: 5}, train: {seeds: [3]}, match_parameters: true}}\n")
    assert [baseline.name for baseline in spec.compare] == ["mlp", "trees", "rows"]
    first = spec.compare[0]
    assert (first.model.kind, first.model.width, first.model.layers, first.match_parameters) == ("mlp", 5, 2, True)
    assert (first.train.epochs, first.train.seeds) == (3, (3,))
    assert spec.compare[1:] == parse_spec(PARENT).compare[1:]


def test_null_leaves_a_baseline_out_and_an_empty_mapping_changes_nothing(child) -> None:
    spec = child("compare: {trees: null, mlp: {}}\n")
    assert spec.compare == tuple(each for each in parse_spec(PARENT).compare if each.name != "trees")


def test_another_kind_takes_no_options_along_and_a_baseline_can_get_another_name(child) -> None:
    spec = child("compare: {trees: {name: forest, model: {kind: mlp}}}\n")
    assert (spec.compare[1].name, spec.compare[1].model) == ("forest", parse_spec(PARENT).compare[0].model.model_copy(
        update={"width": 128, "layers": 4}
    ))  # fmt: skip


def test_a_list_replaces_all(child) -> None:
    spec = child("compare: [{name: only, model: {kind: gnn}}]\n")
    assert [baseline.name for baseline in spec.compare] == ["only"]
    assert child("compare: []\n").compare == ()


def test_changes_add_up_over_generations(child, tmp_path) -> None:
    child("compare: {mlp: {model: {width: 5}}, rows: null}\n")
    (tmp_path / "grandchild.yaml").write_text("extends: child.yaml\ncompare: {mlp: {model: {layers: 3}}}\n")
    spec = load_spec("grandchild.yaml")
    assert [baseline.name for baseline in spec.compare] == ["mlp", "trees"]
    assert (spec.compare[0].model.width, spec.compare[0].model.layers) == (5, 3)


def test_overrides_change_baselines_after_the_child(child) -> None:
    spec = child(
        "compare: {mlp: {model: {width: 5}}}\n", ("compare.mlp.model.width=6", "compare.rows=null", "compare.trees={}")
    )
    assert [baseline.name for baseline in spec.compare] == ["mlp", "trees"]
    assert spec.compare[0].model.width == 6
    assert child("train: {epochs: 1}\n", ("compare=[]",)).compare == ()


def test_a_resolved_spec_is_a_list_again(child) -> None:
    spec = child("compare: {mlp: {model: {width: 5}}, rows: null}\n")
    assert parse_spec(dump_spec(spec)) == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "compare: {mlq: {model: {width: 5}}}\n",
            """\
            child.yaml:2:11: no baseline 'mlq' to change; did you mean 'mlp'?
              compare: {mlq: {model: {width: 5}}}
                        ^""",
        ),
        (
            "compare: {graphs: null}\n",
            """\
            child.yaml:2:11: no baseline 'graphs' to change; compare has mlp, trees, rows
              compare: {graphs: null}
                        ^""",
        ),
        (
            "compare: {mlp: 3}\n",
            """\
            child.yaml:2:16: compare.mlp must be a mapping of what differs, or null to leave it out
              compare: {mlp: 3}
                             ^""",
        ),
        (
            "compare: {mlp: [1]}\n",
            """\
            child.yaml:2:16: compare.mlp must be a mapping of what differs, or null to leave it out
              compare: {mlp: [1]}
                             ^""",
        ),
        (
            "compare: {mlp: {model: {widht: 5}}}\n",
            """\
            child.yaml:2:25: unknown key 'widht' in compare[0].model; did you mean 'width'?
              compare: {mlp: {model: {widht: 5}}}
                                      ^""",
        ),
    ],
)
def test_what_cannot_be_laid_over_is_refused_where_it_stands(child, text, message) -> None:
    assert refused(child, text) == textwrap.dedent(message)


def test_two_mistakes_are_told_at_once(child) -> None:
    message = refused(child, "compare: {mlq: null, rows: 1}\ntrain: {epochs: 0}\n")
    assert message.count("child.yaml:") == 3


def test_an_override_of_an_unknown_baseline_is_refused_in_its_own_words(child) -> None:
    assert refused(child, "train: {epochs: 1}\n", ("compare.mlq.train.epochs=3",)) == textwrap.dedent(
        """\
        --set 1:1:9: no baseline 'mlq' to change; did you mean 'mlp'?
          compare.mlq.train.epochs=3
                  ^"""
    )


def test_a_spec_without_a_parent_has_no_baselines_to_change() -> None:
    assert refused(parse_spec, "graphws: 1\ncompare: {mlp: {model: {width: 5}}}\n") == textwrap.dedent(
        """\
        <text>:2:11: no baseline 'mlp' to change; compare has no baselines
          compare: {mlp: {model: {width: 5}}}
                    ^"""
    )


def test_where_the_parent_cannot_be_read_its_baselines_are_unknown_and_not_missing() -> None:
    message = refused(parse_spec, "graphws: 1\nextends: nowhere.yaml\ncompare: {mlp: {model: {width: 5}}}\n")
    assert "there is no file 'nowhere.yaml'" in message
    assert "baseline" not in message
    assert "compare" not in message
