"""Blocks and written lists become the same thing: explicit messages."""

from __future__ import annotations

import pytest

from graphws.messages import Message
from graphws.spec import Blocks, DwsnetModel, MessageSection, parse_spec


def test_the_default_is_three_messages():
    assert DwsnetModel(kind="dwsnet").layer_messages() == tuple(
        Message(("any",), via, ("any",), "max", "all") for via in ("edge", "neuron", "network")
    )
    assert DwsnetModel(kind="dwsnet").layer_messages() == DwsnetModel(kind="dwsnet", blocks=Blocks()).layer_messages()


def test_families_expand_on_their_own():
    blocks = Blocks(weight_to_bias="diagonal", bias_to_weight="none", bias_to_bias="none")
    messages = DwsnetModel(kind="dwsnet", blocks=blocks, pooling="mean").layer_messages()
    assert messages == tuple(
        Message(("weight",), via, (target,), "mean", pairs)
        for target, pairs in (("weight", "all"), ("bias", "sharing"))
        for via in ("edge", "neuron", "network")
    )


def test_a_list_is_kept_and_gets_its_pooling():
    spec = parse_spec(
        """
        graphws: 1
        model:
          kind: dwsnet
          pooling: mean
          messages:
            - {from: any, via: network, to: [bias, weight, bias]}
            - {from: weight, via: edge, to: weight, pool: max, pairs: sharing}
        """
    )
    assert spec.model.layer_messages() == (
        Message(("any",), "network", ("bias", "weight"), "mean", "all"),
        Message(("weight",), "edge", ("weight",), "max", "sharing"),
    )


def test_messages_in_python_use_field_names():
    message = MessageSection(sources="weight", via="edge", targets=["bias"])
    assert (message.sources, message.targets) == (("weight",), ("bias",))
    assert message.model_dump(by_alias=True)["from"] == ("weight",)


@pytest.mark.parametrize("other", ["neuron", "network"])
def test_different_messages_are_no_repetition(other):
    parse_spec(
        f"""
        graphws: 1
        model:
          kind: dwsnet
          messages:
            - {{from: any, via: neuron, to: any, pool: max}}
            - {{from: any, via: {other}, to: any, pool: mean}}
        """
    )
