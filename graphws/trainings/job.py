"""The job of a spec with an ``experiment``: from the pictures to the report, in a run folder.

====================================  ==================================================================
``trials/network/``                   state and metrics of the training, from which a stopped run goes on
``models/network.safetensors``        the trained network as a converted one, for ``graphws actions`` and others
``probes.safetensors``                what it was measured on, for ``graphws actions --data``
``metrics.csv``, ``results.json``     every look at the test pictures; verdict and numbers of every layer
``figures/``, ``report.html``         as of every run
====================================  ==================================================================
"""

from __future__ import annotations

import torch
from safetensors.torch import save

from graphws.checkpoints.network_file import load_network, save_network
from graphws.errors import GraphwsError, RunError
from graphws.report.actions_page import COLUMNS, actions_table
from graphws.reporter import Reporter
from graphws.runtime.environment import Processes, machine, versions
from graphws.runtime.files import brief, read_json, read_rows, write_bytes, write_json
from graphws.runtime.folder import RunFolder
from graphws.runtime.request import Request
from graphws.spec import Spec, SymmetryExperiment, dump_spec
from graphws.trainings.analysis import (
    SymmetryResults,
    convert,
    find,
    find_heads,
    heads_in_words,
    rho_on_heads,
    score,
)
from graphws.trainings.design import Design, design_of
from graphws.trainings.readiness import require
from graphws.trainings.training import LAST, Trained, train
from graphws.trainings.training_report import write_report
from graphws.zoo.sources.labelled_pictures import Pictures

NETWORK = "network"


def run(
    spec: Spec, folder: RunFolder, group: Processes, reporter: Reporter, request: Request | None = None
) -> SymmetryResults:
    """Train the network of an experiment, find how the group acts inside it, write the report; or what is missing.

    Raises:
        GraphwsError: When something is wrong or fails; the run is marked ``failed`` and can go on.
        KeyboardInterrupt: On Ctrl-C; the run is marked ``interrupted`` and can go on.
    """
    experiment = spec.experiment
    assert experiment is not None
    if folder.complete():
        try:
            for text in folder.altered().values():
                raise RunError(text)
            return SymmetryResults.from_json(read_json(folder.path / "results.json", "a finished run"))
        except (RunError, ValueError) as error:
            reporter.note(f"{folder.path} is complete, but damaged, and is gone on with: {brief(error)}")
    pictures = require(spec, group, None if folder.path.exists() else folder.path)
    facts = {"machine": machine(), **({} if request is None else {"request": request.to_json()})}
    with folder.work(dump_spec(spec), versions(), reporter.note, facts):
        _same(pictures, folder)
        trained = _trained(experiment, pictures, folder, reporter)
        actions = find(trained, pictures)
        heads = find_heads(trained, pictures)
        rows = tuple(tuple(row) for row in actions_table(actions))
        words = "" if heads is None else heads_in_words(heads, rho_on_heads(trained, actions))
        test = score(trained, pictures)
        results = SymmetryResults(actions.verdict.text, test, tuple(COLUMNS), rows, words, actions.to_dict())
        write_bytes(folder.path / "probes.safetensors", save({"inputs": trained.probes(pictures).contiguous()}))
        write_json(folder.path / "results.json", results.to_json())
        write_report(spec, folder, trained, pictures, actions, heads, results)
        folder.finish(results.sentence())
    return results


def _same(pictures: Pictures, folder: RunFolder) -> None:
    """Whether the pictures are those that the run began with; `RunError` where not."""
    state = folder.state()
    if state.setdefault("pictures_sha256", pictures.digest) != pictures.digest:
        raise RunError(f"the pictures have changed since {folder.path} was started; start another run")
    folder.mark(state["status"], pictures_sha256=pictures.digest)


def _trained(experiment: SymmetryExperiment, pictures: Pictures, folder: RunFolder, reporter: Reporter) -> Trained:
    """The trained network; it is trained only where the run has none yet."""
    trial, path = folder.trial(NETWORK), folder.model(NETWORK)
    design = design_of(experiment, pictures)
    found = _kept(design, folder, reporter)
    if found is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        trained = train(experiment, pictures, device=device, folder=trial, reporter=reporter)
        write_bytes(folder.path / "metrics.csv", (trial / "metrics.csv").read_bytes())
        save_network(convert(trained, pictures), path)
        found = _kept(design, folder, reporter)
        assert found is not None
    (trial / LAST).unlink(missing_ok=True)
    return found


def _kept(design: Design, folder: RunFolder, reporter: Reporter) -> Trained | None:
    """The network that was trained before; None where there is none, or, with a word, where it is damaged."""
    path = folder.model(NETWORK)
    if not path.exists():
        return None
    try:
        weights = load_network(path).weights
        if weights is None or weights.graph != design.graph:
            raise RunError(f"{path} is of another training")
        return Trained(design, weights, tuple(read_rows(folder.path / "metrics.csv")))
    except GraphwsError as error:
        reporter.note(f"{error}: the network is trained again")
        return None
