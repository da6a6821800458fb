"""What a spec asks heads its page."""

from __future__ import annotations

import doctest

import pytest

from graphws.spec import load_spec, parse_spec, shipped_specs
from graphws.spec.tasks import section

BARE = "graphws: 1\nname: quick\n"


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("", "quick"),
        ("title: Why?\ntask: {kind: classification}\n", "Why?"),
        ("task: {kind: classification}\n", "Which label does a network have?"),
        ("task: {kind: regression, target: [test_accuracy, psnr]}\n",
         "Which test accuracy and psnr does a network have?"),
        ("task: {kind: representation, target: frequency}\naugment: {noise: 0.1}\n",
         "How do networks lie beside each other?"),
        ("experiment: {kind: symmetry, group: rotations, task: classifier, pictures: {size: 8, crop: 1.0}}\n",
         "How does a quarter turn act inside a classifier?"),
    ],
)  # fmt: skip
def test_a_spec_asks(text: str, question: str) -> None:
    assert parse_spec(BARE + text).question() == question


def test_every_shipped_spec_asks_in_its_own_words() -> None:
    for name in shipped_specs():
        title = load_spec(name).title
        assert title, name
    assert load_spec("mirror-digits-classifier").title == "How does a mirror act inside a classifier of digits?"


def test_the_examples_in_docstrings_are_right() -> None:
    found = doctest.testmod(section)
    assert found.attempted
    assert not found.failed
