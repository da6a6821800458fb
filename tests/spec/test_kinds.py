"""What a spec may name exists where it is used, and what installed packages add is sound or refused by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from graphws.errors import SpecError, UsageError
from graphws.layers import ACTIVATIONS as OF_LAYERS
from graphws.layers.norm import NORMS
from graphws.operations import ACTIVATIONS as OF_NETWORKS
from graphws.pooling import POOLINGS, learned_pooling
from graphws.runtime.learner import OPTIMIZERS, SCHEDULES
from graphws.runtime.normal_form import GAUGES
from graphws.spec import KINDS, Optimizer, Preprocess, SymmetryExperiment, Train, json_schema, kinds, parse_spec
from graphws.spec.kinds import Kinds, kind_of
from graphws.spec.models import Norm
from graphws.spec.section import Activation, NetworkActivation
from graphws.spec.source_kinds import SOURCES
from graphws.spec.sources import PICTURE_SOURCES
from graphws.trainings.objectives import OBJECTIVES
from tests.packages import PLUGIN, entry_points_of, install


def test_activations_of_models() -> None:
    assert set(get_args(Activation)) == set(OF_LAYERS) - {"identity"}


def test_activations_of_networks() -> None:
    assert set(get_args(NetworkActivation)) <= set(OF_NETWORKS)


def test_poolings_are_those_of_the_table() -> None:
    properties = json_schema()["$defs"]["DwsnetModel"]["properties"]
    assert properties["pooling"]["enum"] == list(POOLINGS)
    for pool in POOLINGS:
        assert parse_spec(f"graphws: 1\nmodel: {{kind: dwsnet, pooling: {pool}}}").model.pooling == pool  # type: ignore[union-attr]


@pytest.mark.parametrize("pool", [name for name in POOLINGS if learned_pooling(name)])
def test_heads_divide_channels_wherever_a_pooling_is_learned(pool: str) -> None:
    with pytest.raises(SpecError, match=r"model\.heads is 3, which does not divide 32 channels"):
        parse_spec(f"graphws: 1\nmodel: {{kind: dwsnet, pooling: {pool}, heads: 3}}")


def test_norms() -> None:
    assert get_args(Norm) == NORMS


@pytest.mark.parametrize(
    ("section", "key", "table"),
    [
        (Optimizer, "kind", OPTIMIZERS),
        (Train, "schedule", SCHEDULES),
        (Preprocess, "gauge", GAUGES),
        (SymmetryExperiment, "task", OBJECTIVES),
    ],
)
def test_every_choice_is_in_the_table_that_is_looked_up(section: type, key: str, table: dict[str, object]) -> None:
    assert set(get_args(section.model_fields[key].annotation)) == set(table)  # type: ignore[attr-defined]


@pytest.mark.parametrize("each", KINDS, ids=lambda each: each.group)
def test_the_table_of_groups_is_what_there_is(each: Kinds) -> None:
    assert kinds.__doc__ is not None
    assert f"``{each.group}``" in kinds.__doc__
    assert f"`{each.base.__name__}`" in kinds.__doc__
    assert kinds.__doc__.count("``graphws.") == len(KINDS)
    assert [kind_of(section) for section in each.own] == list(each.table())
    assert all(issubclass(section, each.base) and not section.__abstractmethods__ for section in each.own)


@pytest.mark.parametrize("each", KINDS, ids=lambda each: each.group)
def test_the_example_adds_a_kind_to_every_group(each: Kinds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(PLUGIN)
    monkeypatch.syspath_prepend(install(tmp_path, "graphws_chirps", entry_points_of(PLUGIN)))
    table = each.table()
    (name,) = set(table) - {kind_of(section) for section in each.own}
    assert name is not None
    assert table[name].__module__.startswith("graphws_chirps.")


SECTION = """\
from typing import Literal
from graphws.spec import Section, SourceSection

class Waves(SourceSection):
    kind: Literal["waves"]

class Tides(SourceSection):
    kind: Literal["tides"]

    def build(self):
        return None

class Plain(Section):
    kind: Literal["waves"]

    def build(self):
        return None

def load():
    return None
"""


@pytest.mark.parametrize(
    ("point", "text"),
    [
        (
            "waves = sea:Waves",
            "the entry point 'waves' in 'graphws.sources' of the package 'sea' (sea:Waves) does not define `build`, "
            "which every graphws.spec.ZooSource has",
        ),
        (
            "digits = sea:Tides",
            "the entry point 'digits' in 'graphws.sources' of the package 'sea' (sea:Tides) takes a kind that exists "
            "already; rename it or uninstall its package",
        ),
        (
            "waves = sea:Tides",
            "the entry point 'waves' in 'graphws.sources' of the package 'sea' (sea:Tides) must be a subclass of "
            "graphws.spec.ZooSource with a field `kind: Literal['waves']`",
        ),
        (
            "waves = sea:Plain",
            "the entry point 'waves' in 'graphws.sources' of the package 'sea' (sea:Plain) must be a subclass of "
            "graphws.spec.ZooSource with a field `kind: Literal['waves']`",
        ),
        (
            "waves = sea:load",
            "the entry point 'waves' in 'graphws.sources' of the package 'sea' (sea:load) must be a subclass of "
            "graphws.spec.ZooSource with a field `kind: Literal['waves']`",
        ),
        (
            "waves = sea:Wave",
            "the entry point 'waves' in 'graphws.sources' of the package 'sea' (sea:Wave) does not load: module 'sea' "
            "has no attribute 'Wave'; repair or uninstall its package",
        ),
        (
            "waves = ocean:Waves",
            "the entry point 'waves' in 'graphws.sources' of the package 'sea' (ocean:Waves) does not load: "
            "No module named 'ocean'; repair or uninstall its package",
        ),
    ],
)
def test_an_unsound_kind_is_refused_by_name(
    point: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(install(tmp_path, "sea", f"[graphws.sources]\n{point}\n", SECTION))
    monkeypatch.delitem(sys.modules, "sea", raising=False)
    with pytest.raises(UsageError) as caught:
        SOURCES.table()
    assert str(caught.value) == text


def test_what_is_no_source_of_samples_is_for_zoos_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = """\
from typing import Literal
from graphws.spec import ZooSource

class Herd(ZooSource):
    kind: Literal["herd"]

    def zoo_graph(self, zoo):
        return None

    def fitting(self, zoo):
        return None
"""
    monkeypatch.syspath_prepend(install(tmp_path, "sea", "[graphws.sources]\nherd = sea:Herd\n", module))
    monkeypatch.delitem(sys.modules, "sea", raising=False)
    assert "herd" in SOURCES.table()
    assert PICTURE_SOURCES.table().keys() == {kind_of(section) for section in PICTURE_SOURCES.own}


def test_two_packages_cannot_add_the_same_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = SECTION.replace('"tides"', '"ebb"')
    for name in ("sea", "coast"):
        points = f"[graphws.sources]\nebb = {name}:Tides\n"
        monkeypatch.syspath_prepend(install(tmp_path / name, name, points, module))
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(UsageError, match=r"takes a kind that exists already; rename it or uninstall its package$"):
        SOURCES.table()


def test_fields_that_pydantic_cannot_read_are_refused_by_name(tmp_path: Path) -> None:
    module = SECTION.replace('    kind: Literal["tides"]\n', '    kind: Literal["tides"]\n    moon: "Moon"\n')
    module = "from __future__ import annotations\n" + module
    folder = install(tmp_path, "sea", "[graphws.sources]\ntides = sea:Tides\n", module)
    code = "from graphws.spec import parse_spec; parse_spec('graphws: 1')"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        "graphws.errors.UsageError: the kind 'tides' in 'graphws.sources' (sea:Tides) has fields that pydantic cannot "
        "read: name 'Moon' is not defined; repair or uninstall its package"
    )
