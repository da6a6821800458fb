"""A share of the networks of a zoo through the numeric gate, each with its own numbers.

A conversion was tried on one network's numbers.  That its graph is that of all networks filed under it is a claim; what
can be seen of it without the sources is that its group leaves their functions alone too.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from graphws.checkpoints.repeated_gate import FAILURES, Repetition, judge, repeat_gate
from graphws.errors import UsageError, VerificationError
from graphws.graph import Weights
from graphws.operations.verify import verify
from graphws.zoo.collecting.architectures import Architecture, Like

SHARE = 0.02
MOST = 100
"""Networks of an architecture that are tried, at most."""
EFFORT = 1e9
"""Numbers that trying one network may make."""
DRAWS = 2


def chosen(architecture: Architecture, count: int, share: float) -> list[int]:
    """The networks of an architecture, by their places in it, that are tried: the same in every run.

    Raises:
        UsageError: On a share outside of 0…1.
    """
    if not 0 <= share <= 1:
        raise UsageError(f"check is a share from 0 to 1, got {share!r}")
    if share == 0:
        return []
    number = min(count, MOST, max(1, math.ceil(share * count)))
    seed = int.from_bytes(hashlib.sha256(architecture.name.encode()).digest()[:4], "big")
    return sorted(np.random.default_rng(seed).permutation(count)[:number].tolist())


def tried(like: Like, weights: Weights) -> Repetition:
    """What the gate says of one network.

    Raises:
        VerificationError: Where the group changes its outputs.
    """
    generator = torch.Generator().manual_seed(0)
    found = repeat_gate(like.graph, weights, generator=generator, effort=EFFORT)
    if found.tried or like.run is None:
        return found
    own, run = weights.to(dtype=torch.float64), like.run
    try:
        figures = verify(
            like.graph, own, generator=generator, run=lambda candidate: run(candidate).detach(), actions="rich",
            draws=DRAWS, tolerance=math.inf, least_control=0.0, most_controls=8,
        )  # fmt: skip
    except VerificationError:
        return Repetition(None, "the outputs are not finite numbers")
    except FAILURES as error:
        return Repetition(None, next(iter(str(error).splitlines()), type(error).__name__)[:200], tried=False)
    return judge(figures)


def check_all(
    architectures: Mapping[str, tuple[Architecture, int]],
    network: Callable[[str, int], tuple[Like, Weights, str]],
    share: float,
    progress: Callable[[int, int], None],
) -> tuple[dict[str, dict[str, Any]], list[tuple[str, int, str]]]:
    """Tries a share of each architecture.

    Args:
        architectures: By name, with the number of networks.
        network: Gives one by architecture and place in it, with where it is.
        share: Of each, at least one.
        progress: Called with the number of networks tried, and of all to try.

    Returns:
        tuple[dict, list]: For each architecture the figures; and those that were refuted, with the reason.
    """
    picked = {name: chosen(each, count, share) for name, (each, count) in architectures.items()}
    total, done = sum(map(len, picked.values())), 0
    figures: dict[str, dict[str, Any]] = {}
    refuted = []
    for name, places in picked.items():
        errors, controls, reasons = [], [], []
        for place in places:
            like, weights, _ = network(name, place)
            try:
                found = tried(like, weights)
            except VerificationError as error:
                refuted.append((name, place, str(error)))
                continue
            finally:
                done += 1
                progress(done, total)
            if found.verification is None:
                reasons.append(found.reason)
            else:
                errors.append(found.verification.error)
                controls.append(found.verification.control)
        figures[name] = {"networks": architectures[name][1], "tried": len(places), "verified": len(errors)}
        if errors:  # one digit: the last ones differ from machine to machine
            figures[name] |= {"error": float(f"{max(errors):.0e}"), "control": float(f"{min(controls):.0e}")}
        if reasons:
            figures[name]["reason"] = reasons[0][:200]
    return figures, refuted
