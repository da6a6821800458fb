"""Messages and the block families that expand to them."""

from __future__ import annotations

import pytest

from graphws.errors import UsageError
from graphws.messages import FAMILIES, Message, expand_blocks
from graphws.pooling import POOLINGS


def test_full_families_are_three_messages() -> None:
    assert [str(m) for m in expand_blocks()] == [
        "any -> edge (max) -> any",
        "any -> neuron (max) -> any",
        "any -> network (max) -> any",
    ]


def test_diagonal_families_keep_to_pairs_that_share() -> None:
    assert {m.pairs for m in expand_blocks(dict.fromkeys(FAMILIES, "diagonal"))} == {"sharing"}
    mixed = expand_blocks({"bias_to_weight": "diagonal", "bias_to_bias": "none"}, "mean")
    assert [str(m) for m in mixed] == [
        "weight -> edge (mean) -> weight",
        "weight -> neuron (mean) -> weight",
        "weight -> network (mean) -> weight",
        "weight -> edge (mean) -> bias",
        "weight -> neuron (mean) -> bias",
        "weight -> network (mean) -> bias",
        "bias -> edge (mean) -> weight, sharing pairs only",
        "bias -> neuron (mean) -> weight, sharing pairs only",
        "bias -> network (mean) -> weight, sharing pairs only",
    ]


def test_no_family_no_message() -> None:
    assert expand_blocks(dict.fromkeys(FAMILIES, "none")) == ()


def test_a_message_knows_whom_it_serves() -> None:
    message = Message(("weight",), "neuron", ("any",))
    assert message.sends("weight")
    assert not message.sends("bias")
    assert message.reaches("bias")


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (
            {"via": "edges"},
            "message via must be one of edge, neuron, network, weight; got 'edges'; did you mean 'edge'?",
        ),
        (
            {"pool": "maxx"},
            f"message pool must be one of {', '.join(POOLINGS)}; got 'maxx'; did you mean 'max'?",
        ),
        ({"pairs": "some"}, "message pairs must be one of all, sharing; got 'some'"),
        (
            {"via": "weight"},
            "message via weight: weights carry neurons only, not any; write `from: neuron`",
        ),
        (
            {"via": "weight", "source": ("neuron",), "target": ("bias", "any")},
            "message via weight: weights carry to neurons or write on weights, not to bias and any; write "
            "`to: neuron` or `to: weight`",
        ),
        (
            {"via": "weight", "source": ("neuron",), "target": ("neuron",), "pairs": "sharing"},
            "message via weight: a weight joins the neurons that it joins; leave out `pairs: sharing`",
        ),
    ],
)
def test_wrong_messages_say_what_is_allowed(wrong: dict[str, str], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Message(**wrong)  # type: ignore[arg-type]
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"weight_to_wait": "full"}, "unknown block family 'weight_to_wait'; did you mean 'weight_to_weight'?"),
        (
            {"bias_to_bias": "diag"},
            "bias_to_bias must be full, diagonal or none; got 'diag'; did you mean 'diagonal'?",
        ),
    ],
)
def test_wrong_blocks_say_what_is_allowed(wrong: dict[str, str], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        expand_blocks(wrong)
    assert str(caught.value) == text
