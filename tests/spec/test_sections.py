"""Sections build what they stand for, and say in words what they cannot."""

from __future__ import annotations

import pytest
import torch

from graphws.errors import UsageError
from graphws.models import DWSNet, FlatMLP
from graphws.operations import mlp_graph
from graphws.spec import (
    Augment,
    ClassificationTask,
    ClassifiersSource,
    ConvolutionSection,
    DigitsSource,
    DwsnetModel,
    EquivariantHead,
    FitSection,
    InvariantHead,
    MlpInput,
    MlpModel,
    ModelSection,
    NetworkSection,
    RegressionTask,
    SineSource,
    Spec,
    SplitSection,
    TaskSection,
    TreesModel,
    WeightsTask,
    ZooInput,
    ZooSection,
    dump_spec,
    lacks_for_training,
    parse_spec,
)
from graphws.tasks import Classification, Denoising, Regression, TaskData
from graphws.testing import random_weights

GRAPH = mlp_graph([2, 4, 1])
NUMBERS = InvariantHead(kind="invariant", outputs=3, hidden=(5,))
NETWORK = EquivariantHead(kind="equivariant")


def test_a_zoo_builds_its_samples_and_the_networks_that_are_fitted() -> None:
    zoo = ZooSection(source=SineSource(kind="sine", count=6, points=20, limit=4), split=SplitSection(test=0.3))
    samples = zoo.source.build()
    assert (len(samples), zoo.columns()) == (
        4,
        ("amplitude", "frequency", "sample", "view", "split", "loss", "psnr", "steps"),
    )
    assert set(zoo.source.columns or ()) == set(samples.table)
    assert zoo.network.build(samples).widths == zoo.widths() == (1, 32, 32, 1)
    assert (zoo.fit.build().steps, zoo.split.build().test) == (1000, 0.3)


def test_keys_that_came_later_do_not_rename_older_zoos() -> None:
    usual = ZooSection().folder()
    assert usual.name == "digits-4c54251c"
    explicit = ZooSection(network=NetworkSection(first="siren", offset=0.0), fit=FitSection(weight_decay=0.0))
    assert explicit.folder() == usual
    others = {
        ZooSection(network=NetworkSection(first="hidden")).folder(),
        ZooSection(network=NetworkSection(offset=0.5)).folder(),
        ZooSection(fit=FitSection(weight_decay=1e-4)).folder(),
    }
    assert len(others | {usual}) == 4


def test_a_source_that_says_its_networks_itself_needs_no_other_sections() -> None:
    source = ClassifiersSource(kind="classifiers", pairs="all", hidden=(5,), epochs=2.0)
    zoo = ZooSection(source=source)
    assert (zoo.network, zoo.fit) == (None, None)
    assert zoo.widths() == (64, 5, None)
    assert zoo.columns() == ("sample", "view", "split", "step", "class_a", "class_b", "accuracy", "loss", "error")
    assert zoo.graph().space("hidden1").size == 5
    assert zoo.folder().name.startswith("classifiers-")
    spec = Spec(graphws=1, zoo=zoo, input=ZooInput(kind="zoo"))
    assert parse_spec(dump_spec(spec)) == spec
    convolutions = ZooSection(source=source.model_copy(update={"convolutions": ConvolutionSection(channels=(4,))}))
    assert convolutions.widths() is None
    assert convolutions.folder() != zoo.folder()


def test_sections_that_are_null_are_the_usual_ones_where_the_source_uses_them() -> None:
    assert ZooSection.model_validate({"network": None, "fit": None}) == ZooSection()
    assert ZooSection().network == NetworkSection()
    assert parse_spec("graphws: 1\nzoo: {network: null}\n").zoo == ZooSection()


def test_the_start_and_the_offset_reach_the_networks() -> None:
    section = ZooSection(
        source=DigitsSource(kind="digits", limit=3),
        network=NetworkSection(first="hidden", offset=0.5),
        fit=FitSection(weight_decay=1e-4),
    )
    built = section.network.build(section.source.build())
    assert (built.first, built.offset, section.fit.build().weight_decay) == ("hidden", 0.5, 1e-4)


def test_what_a_source_says_of_its_data_is_so() -> None:
    section = DigitsSource(kind="digits", limit=3)
    samples = section.build()
    assert (section.coordinates, section.values) == (samples.coordinates.shape[1], samples.values.shape[2])
    assert set(section.columns or ()) == set(samples.table)
    assert samples.shape == (section.side(), section.side())


@pytest.mark.parametrize(
    ("section", "kind"),
    [(DwsnetModel(kind="dwsnet", layers=2, channels=4), DWSNet), (MlpModel(kind="mlp", layers=1), FlatMLP)],
)
def test_models_answer_as_their_head_says(section: ModelSection, kind: type) -> None:
    weights = random_weights(GRAPH, 4, torch.Generator().manual_seed(0), torch.float32)
    model = section.build(GRAPH, NUMBERS)
    assert isinstance(model, kind)
    assert model(weights).shape == (4, 3)
    assert section.build(GRAPH, NETWORK)(weights).graph == GRAPH


def test_only_some_models_have_a_size_to_choose() -> None:
    sized = MlpModel(kind="mlp", layers=2).sized(GRAPH, NUMBERS, 1000)
    count = sum(parameter.numel() for parameter in sized.build(GRAPH, NUMBERS).parameters())
    assert count == pytest.approx(1000, rel=0.05)
    with pytest.raises(UsageError) as caught:
        TreesModel(kind="trees").sized(GRAPH, NUMBERS, 1000)
    assert str(caught.value) == "a model of the kind 'trees' has no width to choose"


@pytest.mark.parametrize(
    ("section", "targets", "kind"),
    [
        (ClassificationTask(kind="classification"), torch.tensor([0, 2, 1]), Classification),
        (RegressionTask(kind="regression", target="a"), torch.tensor([[1.0], [2.0], [4.0]]), Regression),
        (WeightsTask(kind="weights"), torch.zeros(3, 0), Denoising),
    ],
)
def test_tasks_are_made_from_their_data(section: TaskSection, targets: torch.Tensor, kind: type) -> None:
    data = TaskData(targets, torch.tensor([0, 1]), torch.ones(GRAPH.numel))
    head = NETWORK if section.answers_networks else NUMBERS
    assert isinstance(section.build(head, Augment(noise=0.1), data), kind)


def test_a_classification_needs_numbers() -> None:
    data = TaskData(torch.tensor([0, 1]), torch.tensor([0, 1]), torch.ones(3))
    with pytest.raises(UsageError) as caught:
        ClassificationTask(kind="classification").build(NETWORK, Augment(), data)
    assert str(caught.value) == "a classification needs a head with an output for each class, got 'equivariant'"


def test_inputs_without_networks_say_so() -> None:
    given = MlpInput(kind="mlp", widths=(2, 4, 1))
    assert given.build(None) == mlp_graph([2, 4, 1])
    text = "training needs networks, but the spec has the input kind 'mlp'; use `input: {kind: zoo}`"
    with pytest.raises(UsageError) as caught:
        given.networks(None, lambda section: pytest.fail("nothing to fit"))
    assert str(caught.value) == text
    for build in (lambda: ZooInput(kind="zoo").build(None), lambda: ZooInput(kind="zoo").networks(None, pytest.fail)):
        with pytest.raises(UsageError) as caught:
            build()
        assert str(caught.value) == "input.kind is zoo, but there is no zoo: give `input.path` or a section `zoo`"
    assert lacks_for_training(Spec(graphws=1, input=given)) == (
        text,
        "the spec has no model; training needs a section `model`",
        "the spec has no head; training needs a section `head`",
        "the spec has no task; add `task: {kind: classification, target: label}` or another one",
    )
