"""The models, their reference, the JSON Schema file and the shipped specs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import jsonschema
import pytest
from pydantic import BaseModel, ValidationError

from graphws.operations import ACTIVATIONS
from graphws.spec import (
    DwsnetModel,
    Spec,
    dump_spec,
    find_shipped,
    json_schema,
    load_spec,
    parse_spec,
    shipped_folder,
    shipped_specs,
)
from graphws.spec.descriptions import describe
from graphws.spec.reader import read_file
from graphws.spec.section import Activation, NetworkActivation, Section
from graphws.spec.tree import plain

SHIPPED = sorted(shipped_folder().rglob("*.yaml"))


def test_the_schema_file_is_in_step():
    """Write it anew with ``graphws schema > specs/schema.json``."""
    assert json.loads((shipped_folder() / "schema.json").read_text(encoding="utf-8")) == json_schema()


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(json_schema())


def test_every_key_is_described():
    for name, section in json_schema()["$defs"].items():
        assert section["description"], name
        for key, field in section["properties"].items():
            assert field.get("description"), f"{name}.{key}"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_specs_are_valid(path):
    spec = load_spec(path)
    assert parse_spec(dump_spec(spec)) == spec


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_editors_accept_the_shipped_specs(path):
    """Each names its schema in the first line and fits it as it is written, before anything is inherited."""
    first = path.read_text(encoding="utf-8").splitlines()[0]
    prefix = "# yaml-language-server: $schema="
    assert first.startswith(prefix)
    schema = json.loads((path.parent / first.removeprefix(prefix)).read_text(encoding="utf-8"))
    tree, problems = read_file(path, path.name)
    assert not problems
    jsonschema.validate(plain(tree), schema)


def test_shipped_specs_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert {"digits-inr", "sine-frequency"} <= set(shipped_specs())
    assert load_spec("digits-inr") == load_spec("digits-inr.yaml") == load_spec(find_shipped("digits-inr"))
    assert find_shipped("base/dwsnet") is not None
    assert find_shipped("../pyproject") is None
    assert find_shipped("../CHANGELOG.md") is None


def test_json_schema_refuses_what_the_models_refuse():
    for data in ({}, {"graphws": 2}, {"graphws": 1, "modle": 1}, {"graphws": 1, "head": {"kind": "invariant"}}):
        with pytest.raises(ValidationError):
            Spec.model_validate(data)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(data, json_schema())


def test_sections_are_frozen_and_strict():
    model = DwsnetModel(kind="dwsnet")
    with pytest.raises(ValidationError):
        model.layers = 3
    for wrong in ({"layers": "3"}, {"layers": True}, {"layers": 3.0}, {"dropout": "0"}, {"bias": 1}, {"bias": "yes"}):
        with pytest.raises(ValidationError):
            DwsnetModel(kind="dwsnet", **wrong)
    assert DwsnetModel(kind="dwsnet", dropout=0).dropout == 0.0


def test_activations_are_those_of_the_graphs():
    assert set(get_args(NetworkActivation)) == set(ACTIVATIONS) - {"identity", "power"}
    assert set(get_args(Activation)) < set(ACTIVATIONS)


def test_precision_may_be_written_as_a_number():
    assert parse_spec("graphws: 1\ntrain: {precision: 32}").train.precision == "32"


@pytest.mark.parametrize("written", ["4", "auto"])
def test_devices(written):
    assert str(parse_spec(f"graphws: 1\ntrain: {{devices: {written}}}").train.devices) == written


def test_one_learning_rate_or_a_grid():
    assert parse_spec("graphws: 1\ntrain: {optimizer: {lr: 1}}").train.optimizer.grid == (1.0,)
    assert parse_spec("graphws: 1\ntrain: {optimizer: {lr: [1, 2]}}").train.optimizer.grid == (1.0, 2.0)


@pytest.mark.parametrize("name", ["no", "1e-4", "012", "0x1f", "true", "null", "1.5", "a.b", "08", "1e5"])
def test_dumped_strings_stay_strings(name):
    spec = Spec(graphws=1, name=name)
    assert parse_spec(dump_spec(spec)) == spec


def test_dumped_everything():
    spec = parse_spec(
        """
        graphws: 1
        zoo: {source: {kind: pictures, path: 'a: b', size: 3, limit: 5}, fit: {psnr: null, lr: 1e-7}}
        input: {kind: zoo, path: "\u00e9 #x"}
        model:
          kind: dwsnet
          messages: [{from: any, via: edge, to: [bias, weight], pool: sum}, {from: [bias], via: network, to: bias}]
          reduce: {b: 1, a: 2}
        head: {kind: invariant, outputs: 2, hidden: [3]}
        task: {kind: regression, target: [x, '1']}
        compare: [{name: m, model: {kind: mlp}, train: {time_limit: 1e9}}]
        """
    )
    text = dump_spec(spec)
    assert parse_spec(text) == spec
    assert dump_spec(parse_spec(text)) == text
    assert list(plain_keys(text))[:7] == ["graphws", "name", "title", "notes", "scaled", "zoo", "input"]
    assert "extends" not in text


def plain_keys(text):
    return (line.partition(":")[0] for line in text.splitlines() if line[:1].isalpha())


def test_reading_specs_needs_no_torch():
    code = "import sys, graphws.spec; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_kind_is_a_section():
    def below(cls):
        return {cls} | {sub for direct in cls.__subclasses__() for sub in below(direct)}

    for model in below(Section):
        assert issubclass(model, BaseModel)
        assert model.model_config["frozen"]
        assert model.model_config["extra"] == "forbid"


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer"}, "an integer"),
        ({"type": "number", "minimum": 0, "exclusiveMaximum": 1}, "a number of at least 0 and below 1"),
        ({"enum": ["a", 32]}, "'a' or 32"),
        ({"const": 1}, "1"),
        ({"type": "array", "items": {"type": "string", "minLength": 1}}, "a list, each a non-empty string"),
        ({"oneOf": [{"type": "array", "items": {}}, {"type": "null"}]}, "null or a list, each a value"),
        ({}, "a value"),
    ],
)
def test_describe(schema, words):
    assert describe(schema, {}) == words


def test_shipped_folder_of_a_wheel(tmp_path, monkeypatch):
    package = tmp_path / "graphws"
    (package / "_specs").mkdir(parents=True)
    (package / "_specs" / "mine.yaml").write_text("graphws: 1\n")
    monkeypatch.setattr("graphws.spec.shipped.files", lambda name: Path(package))
    assert shipped_folder() == package / "_specs"
    assert shipped_specs() == ("mine",)


def test_the_tutorial_gives_every_key():
    """Of the kinds that it uses, every key is written; only what excludes another one is in a comment."""
    spec = load_spec("tutorial")
    tree, _ = read_file(shipped_folder() / "tutorial.yaml", "tutorial")
    assert list(_left_out(spec, plain(tree))) == ["extends", "blocks"]


def _left_out(section, written):
    for name, field in type(section).model_fields.items():
        key, value = field.alias or name, getattr(section, name)
        if key not in written:
            yield key
        elif isinstance(value, Section):
            yield from _left_out(value, written[key])
