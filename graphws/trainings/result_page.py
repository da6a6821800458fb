"""What a page of results says of an experiment (see `graphws.runtime.result_pages`)."""

from __future__ import annotations

from graphws.spec import Spec
from graphws.trainings.analysis import SymmetryResults


def read_results(spec: Spec, content: object) -> tuple[SymmetryResults, dict[str, str]]:
    """The results of an experiment from its ``results.json``, and facts for the page.

    Raises:
        ValueError: Where the content is damaged.
    """
    assert spec.experiment is not None
    results, train = SymmetryResults.from_json(content), spec.experiment.train
    facts = {"training": f"{train.steps:,} steps of {train.batch_size:,} pictures"}
    facts |= {"on test pictures": ", ".join(f"{name} {value:.3g}" for name, value in results.test.items())}
    first = "" if spec.experiment.network.attention else _first_layer(results)
    return results, facts | ({"first layer": first} if first else {})


def _first_layer(results: SymmetryResults) -> str:
    """How many neurons of the first layer are in which category; empty where it has none."""
    for layer in results.actions.get("layers", []):
        for generator, counts in layer.get("categories", {}).items():
            listed = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
            return f"{listed} (under {generator})"
    return ""
