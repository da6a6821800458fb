"""How a symmetry of the data acts inside a network that was trained on it (paper I, sections 5 and 6).

    python examples/05_latent_actions.py [FOLDER]

An autoencoder 64-16-64-64-64 learns scikit-learn's digits; in the second half of the training a loss rewards that it
returns mirrored pictures mirrored.  Nothing says how its neurons are to do that.  Yet its first layer is equivariant:
the mirror permutes the neurons behind Tanh up to signs, as the theorem says for identifiable layers.  The layers behind
it are wider than they need be, and carry the action by matrices only.  The same network trained without the loss is the
control.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from graphws.report.figures import png
from graphws.spec import SymmetryTraining, load_spec
from graphws.trainings import figures_of, find, load_pictures_of, score, train


def main(folder: Path) -> None:
    """Trains, finds the action, prints the verdict and draws."""
    experiment = load_spec("mirror-digits").experiment
    assert experiment is not None
    pictures = load_pictures_of(experiment)
    print(f"{int((~pictures.test).sum())} pictures for training, {int(pictures.test.sum())} for tests")

    trained = train(experiment, pictures)
    metrics = score(trained, pictures)
    print(
        f"returns {100 * metrics['r2']:.0f} % of the variance; f(gx) and g f(x) differ by {metrics['equivariance']:.3f}"
    )
    actions = find(trained, pictures)
    print(actions.verdict.text)
    first = actions.layer("hidden1")
    decoys = max(rival.matched for rival in first.rivals.values())
    print(f"hidden1: {first.matched:.0%} of {first.size} neurons matched, decoys at most {decoys:.0%}")
    print(", ".join(f"{count} {name}" for name, count in first.categories["m"].items() if count))

    no_loss = SymmetryTraining(**{**experiment.train.model_dump(), "equivariance": 0.0})
    control = train(experiment.model_copy(update={"train": no_loss}), pictures)
    print(f"without the loss f(gx) and g f(x) differ by {score(control, pictures)['equivariance']:.3f}")
    print(find(control, pictures).verdict.text)

    folder.mkdir(parents=True, exist_ok=True)
    for name, (caption, figure) in figures_of(trained, pictures, actions, None).items():
        (folder / f"mirror-{name}.png").write_bytes(png(figure))
        print(f"drawn: {folder / f'mirror-{name}.png'}: {caption}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="graphws-")))
