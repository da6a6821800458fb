"""The part that tries conversions: what is false is counted as false."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch

from graphws.checkpoints.conversion import Conversion
from graphws.errors import VerificationError
from graphws_converters.modules.conversion import convert_module
from scripts.trust import conversions
from scripts.trust.conversions import CLAIMS, COLUMNS, OUTCOMES, SPACES, apart, falsity, numbers_in, outcome_of, rows_of
from tests.converters import traps


def _plain(trap: traps.Trap) -> Conversion:
    return convert_module(trap.plain(), traps.example(), generator=torch.Generator().manual_seed(0), front="recorder")


def test_a_forged_verified_is_counted_as_false() -> None:
    """The claim of the plain twin, with its verification, in the name of a trap."""
    trap = traps.TRAPS["branch by if"]
    forged = _plain(trap)
    given = [(x,) for x in traps.ringing(trap.build())]
    whole = forged.graph.log10_order()

    def outcome(found: Conversion, note: str | None = None, module: torch.nn.Module | None = None) -> str:
        return outcome_of(lambda: found, module or trap.build(), given, note, whole)

    assert forged.verified
    assert falsity(forged, trap.build(), given) > 0.1
    assert outcome(forged) == "false"
    assert outcome(forged, "a tie in") == "false"
    assert outcome(replace(forged, notes=("a tie in topk (1 times)",)), "a tie in") == "with a note"
    assert outcome(forged, module=trap.plain()) == "true"
    assert outcome(replace(forged, verification=None, reason="why")) == "UNVERIFIED"
    assert outcome_of(lambda: forged, trap.plain(), given, None, whole + 1) == "smaller group"

    def refuses() -> Conversion:
        raise VerificationError("no")

    assert outcome_of(refuses, trap.build(), given, None, whole) == "refused"


def test_only_confirmed_actions_are_held_against_a_claim() -> None:
    trap = traps.TRAPS["bound: clamp"]
    claim = _plain(trap)
    given = [(x,) for x in traps.ringing(trap.build())]
    assert [str(check.action) for check in claim.actions] == ["scaling"]
    assert falsity(claim, trap.build(), given) > 0.01
    unconfirmed = replace(claim, actions=tuple(replace(check, verdict="unconfirmed") for check in claim.actions))
    assert falsity(unconfirmed, trap.build(), given) < 1e-12


def test_numbers_are_found_in_outputs_of_all_kinds() -> None:
    h = torch.tensor([1.0, 2.0])
    for outputs in (h, [h], {"a": (h,)}, traps.Record(h), traps.Object(h), h.numpy(), h.tolist(), lambda: h, iter(h),
                    traps.Sequence(h), h.to_sparse(), ValueError(repr(h)), {1.0, 2.0}):  # fmt: skip
        assert sum(x.numel() for x in numbers_in(outputs)) >= 2, outputs
    assert apart(numbers_in("ab"), numbers_in("ac")) > 0.5
    assert apart(numbers_in(h), numbers_in(2 * h)) > 0.5
    assert apart(numbers_in(h), numbers_in(h.clone())) == 0
    assert apart(numbers_in(h), numbers_in((h, h))) == float("inf")


@pytest.mark.parametrize("kind", SPACES)
def test_spoilt_graphs_are_other_groups(kind: str) -> None:
    module, inputs = conversions._network(random.Random(4))
    right = convert_module(module, inputs, generator=torch.Generator().manual_seed(0), front="recorder").graph
    wrong = next((g for g in (SPACES[kind](right, random.Random(k)) for k in range(20)) if g is not None), None)
    assert wrong is None or (wrong != right and wrong.numel == right.numel)


def test_a_gate_that_says_yes_to_everything_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    said = _plain(traps.TRAPS["branch by if"])
    original = conversions.conversion.gate

    def lenient(graph, weights, run, generator, **rest):  # type: ignore[no-untyped-def]
        try:
            return original(graph, weights, run, generator, **rest)
        except VerificationError:
            return type(original(said.graph, said.weights, said.run, generator, tolerance=1.0))(said.verification)

    monkeypatch.setattr(conversions.conversion, "gate", lenient)
    monkeypatch.setattr(conversions.conversion, "confirm", lambda *_: ())
    outcomes = [conversions._wrong("one axis of a space torn off", seed) for seed in range(4)]
    assert "false" in outcomes
    monkeypatch.undo()
    assert "false" not in [conversions._wrong("one axis of a space torn off", seed) for seed in range(4)]


def test_rows_add_up() -> None:
    rows = rows_of({"a": {"false": 1, "true": 2}, "b": {"refused": 3}})
    assert [row[0] for row in rows] == ["a", "b", "all"]
    assert rows[-1] == ["all", 6, 3, 0, 0, 0, 2, 1]
    assert len(COLUMNS) == len(OUTCOMES) + 2 == len(rows[0])
    tasks = conversions.tasks_of(2 * len(traps.TRAPS) + 2 * len(CLAIMS))
    assert [task.kind for task in tasks[-len(CLAIMS) :]] == list(CLAIMS)
    assert len(conversions.tasks_of(5)) == 5
