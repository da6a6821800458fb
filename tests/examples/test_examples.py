"""Every numbered example runs, says what it promises and draws."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scripts import load_script

FOLDER = Path(__file__).parents[2] / "examples"
EXAMPLES = {
    "01_network_as_graph": (("VERIFIED (error ", "hidden2: set, 32, signed"), ("graph.png", "guises.png")),
    "02_equivariant_layers": (
        ("mlp: ", "convolution: ", "attention: "),
        ("explain-mlp.png", "explain-convolution.png", "explain-attention.png"),
    ),
    "03_augmented_weights": (("60 networks, median PSNR ",), ("augmented.png",)),
    "06_align": (("aligned by activations: barrier ", "neurons in the same place, aligned: "), ("align.png",)),
    "07_latent_actions": (
        (
            "acts approximately up to hidden1, and breaks at hidden2",
            "hidden1: 100% of 16 neurons matched, decoys at most ",
        ),
        ("mirror-filters.png", "mirror-categories.png", "mirror-errors.png", "mirror-training.png"),
    ),
}
SLOW = {"07_latent_actions"}


def test_every_example_is_listed() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.py")) == sorted(EXAMPLES)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in EXAMPLES])
def test_the_example_runs(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module = load_script(FOLDER / f"{name}.py")
    module.main(tmp_path / "images")
    printed = capsys.readouterr().out
    texts, files = EXAMPLES[name]
    for text in texts:
        assert text in printed
    for file in files:
        assert (tmp_path / "images" / file).read_bytes().startswith(b"\x89PNG")
