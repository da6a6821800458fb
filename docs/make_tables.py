"""Writes docs/tables.md: tables 5 to 9 of paper D beside our counts, with a reason for each difference.

    python docs/make_tables.py

The rows of `PRINTED` are the paper's, read from its appendices B and C.  A row is a condition on the positions j of the
source and i of the target among M layers, and a number of parameters ``c · d_0^a · d_M^b``.  Our counts come from the
plan of a real layer on an MLP with d_0 = 3, d_M = 5 and hidden widths of 2: a count is a power of 2 times powers of 3
and 5, which tells the symbols apart.  Where a row's condition as printed picks other blocks than its count belongs to,
`meant` is the condition that makes the tables right: with it every block has exactly one row, and that row our count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from graphws.graph import NetworkGraph
from graphws.layers.pattern import orbit_slots
from graphws.layers.plan import plan_by_name
from graphws.messages import expand_blocks
from graphws.operations import mlp_graph

PLACE = Path(__file__).with_name("tables.md")
DEPTHS = (2, 3, 4, 5)
FIRST, LAST, HIDDEN = 3, 5, 2
Condition = Callable[[int, int, int], bool]
"""Of j (source), i (target) and M."""
Count = tuple[int, int, int]
"""c, a and b of c · d_0^a · d_M^b."""
FAMILIES = {5: ("W", "W"), 6: ("b", "b"), 7: ("W", "b"), 8: ("b", "W")}
TITLES = {5: "weight to weight", 6: "bias to bias", 7: "weight to bias", 8: "bias to weight"}


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        table: 5 to 8.
        number: The row (the paper's colour).
        words: Its condition as printed.
        printed: The same as a function.
        count: Its number of parameters as printed.
        meant: The condition for which the count is right, where that is another one.
        remark: What is wrong with the row, if anything.
    """

    table: int
    number: str
    words: str
    printed: Condition
    count: Count
    meant: Condition | None = None
    remark: str = ""

    def picks(self, j: int, i: int, depth: int, corrected: bool) -> bool:
        """Whether the row is about the block from j to i."""
        condition = self.meant if corrected and self.meant is not None else self.printed
        return condition(j, i, depth)


ONE, TWO, FOUR = (1, 0, 0), (2, 0, 0), (4, 0, 0)
D0, DM, D0DM = (1, 1, 0), (1, 0, 1), (1, 1, 1)
TWO_D0, TWO_DM = (2, 1, 0), (2, 0, 1)
M2 = "at M = 2 its block joins W_1 and W_2 at one hidden space with free axes on both sides: 2·d_0·d_M, the row M=2"
BELOW = "the three rows below the diagonal repeat the conditions of those above it"
LOWER = (
    "the rows of the lower triangle must hold for all j < i; as printed W_{i-1} → b_i is missing where j > 1 or i = M"
)

HEAD = f"""# Tables 5 to 9 of paper D, beside our counts

Written by `python docs/make_tables.py`; a test keeps it in step.

Paper D (Navon et al. 2023) lists the equivariant linear maps between the weights and biases of an MLP with M layers,
block by block. Here is each row as it stands in the copy that we read (a transcription, so a slip may be its own), and
what our layer has for the same blocks. Our counts are not read from a table: they follow from two rules (see
[layers.md](layers.md)), and `tests/layers/test_completeness.py` checks them against orbit counts, a brute-force null
space and the rank of the layer's parameters.

One channel in, one out, hidden widths of 2 or more. j is the source's position, i the target's. A row *agrees* when
every block that its condition picks at M = {", ".join(map(str, DEPTHS))} has the printed count; otherwise `ours` is
the count for the blocks that the row must have meant. With these readings every block has exactly one row, and that
row our count."""

PRINTED = (
    Row(5, "1", "i = j = 1", lambda j, i, m: i == j == 1, (2, 2, 0)),
    Row(5, "2", "i = j = M", lambda j, i, m: i == j == m, (2, 0, 2)),
    Row(5, "3", "1 < i = j < M", lambda j, i, m: 1 < i == j < m, FOUR),
    Row(
        5,
        "4",
        "j = i+1, i = 1",
        lambda j, i, m: j == i + 1 and i == 1,
        TWO_D0,
        lambda j, i, m: j == i + 1 and i == 1 and m > 2,
        M2,
    ),
    Row(
        5,
        "5",
        "j = i+1, i = M-1",
        lambda j, i, m: j == i + 1 and i == m - 1,
        TWO_DM,
        lambda j, i, m: j == i + 1 and i == m - 1 and m > 2,
        M2,
    ),
    Row(5, "6", "j = i+1, 1 < i < M-1", lambda j, i, m: j == i + 1 and 1 < i < m - 1, TWO),
    Row(
        5,
        "7",
        "j = i-1, i = 1",
        lambda j, i, m: j == i - 1 and i == 1,
        TWO_D0,
        lambda j, i, m: j == i - 1 and j == 1 and m > 2,
        f"{BELOW}: i = 1 would make j = 0; its map, d_1 × d_0 → d_2 × d_1, says j = 1 (and i < M)",
    ),
    Row(
        5,
        "8",
        "j = i-1, i = M-1",
        lambda j, i, m: j == i - 1 and i == m - 1,
        TWO_DM,
        lambda j, i, m: j == i - 1 and i == m and m > 2,
        f"{BELOW}: its map goes to d_M × d_{{M-1}}, so i = M (and j > 1)",
    ),
    Row(
        5,
        "9",
        "j = i-1, 1 < i < M-1",
        lambda j, i, m: j == i - 1 and 1 < i < m - 1,
        TWO,
        lambda j, i, m: j == i - 1 and j > 1 and i < m,
        f"{BELOW}: meant is 1 < j and i < M",
    ),
    Row(5, "10", "j > i+1, i = 1 and j < M", lambda j, i, m: j > i + 1 and i == 1 and j < m, D0),
    Row(5, "11", "j > i+1, i = 1 and j = M", lambda j, i, m: j > i + 1 and i == 1 and j == m, D0DM),
    Row(5, "12", "j > i+1, i > 1 and j = M", lambda j, i, m: j > i + 1 and i > 1 and j == m, DM),
    Row(5, "13", "j > i+1, i > 1 and j < M", lambda j, i, m: j > i + 1 and i > 1 and j < m, ONE),
    Row(
        5,
        "14",
        "j < i-1, j = 1 and i < M",
        lambda j, i, m: j < i - 1 and j == 1 and i < m,
        D0,
        remark="count right; its map prints the target as d_j × d_{j-1} (and broadcasts there), meant is d_i × d_{i-1}",
    ),
    Row(5, "15", "j < i-1, j = 1 and i = M", lambda j, i, m: j < i - 1 and j == 1 and i == m, D0DM),
    Row(5, "16", "j < i-1, j > 1 and i = M", lambda j, i, m: j < i - 1 and j > 1 and i == m, DM),
    Row(5, "17", "j < i-1, j > 1 and i < M", lambda j, i, m: j < i - 1 and j > 1 and i < m, ONE),
    Row(
        5,
        "M=2",
        "not in the table",
        lambda j, i, m: False,
        (2, 1, 1),
        lambda j, i, m: m == 2 and i != j,
        "case 6 of appendix D (its footnote 5 says that the table leaves it out)",
    ),
    Row(6, "1", "i = j < M", lambda j, i, m: i == j < m, TWO),
    Row(6, "2", "i = j = M", lambda j, i, m: i == j == m, (1, 0, 2)),
    Row(6, "3", "i < j, j = M", lambda j, i, m: i < j == m, DM),
    Row(6, "4", "i < j, j < M", lambda j, i, m: i < j < m, ONE),
    Row(6, "5", "i > j, i = M", lambda j, i, m: j < i == m, DM),
    Row(6, "6", "i > j, i < M", lambda j, i, m: j < i < m, ONE),
    Row(7, "1", "i = j = 1", lambda j, i, m: i == j == 1, TWO_D0),
    Row(7, "2", "1 < i = j < M", lambda j, i, m: 1 < i == j < m, TWO),
    Row(7, "3", "i = j = M", lambda j, i, m: i == j == m, (1, 0, 2)),
    Row(7, "4", "j = i+1, j < M", lambda j, i, m: j == i + 1 and j < m, TWO),
    Row(7, "5", "j = i+1, j = M", lambda j, i, m: j == i + 1 and j == m, TWO_DM),
    Row(
        7,
        "6",
        "j > i+1, j < M",
        lambda j, i, m: j > i + 1 and j < m,
        ONE,
        remark="count right; its map broadcasts over d_1, meant is d_i",
    ),
    Row(7, "7", "j > i+1, j = M", lambda j, i, m: j > i + 1 and j == m, DM),
    Row(
        7,
        "8",
        "j = i-1, j = 1 and i < M",
        lambda j, i, m: j == i - 1 and j == 1 and i < m,
        D0,
        lambda j, i, m: j < i and j == 1 and i < m,
        LOWER,
    ),
    Row(
        7,
        "9",
        "j < i-1, j = 1 and i = M",
        lambda j, i, m: j < i - 1 and j == 1 and i == m,
        D0DM,
        lambda j, i, m: j < i and j == 1 and i == m,
        LOWER,
    ),
    Row(
        7,
        "10",
        "j < i-1, j > 1 and i = M",
        lambda j, i, m: j < i - 1 and j > 1 and i == m,
        DM,
        lambda j, i, m: j < i and j > 1 and i == m,
        LOWER,
    ),
    Row(
        7,
        "11",
        "j < i-1, j > 1 and i < M",
        lambda j, i, m: j < i - 1 and j > 1 and i < m,
        ONE,
        lambda j, i, m: j < i and j > 1 and i < m,
        LOWER,
    ),
    Row(8, "1", "i = j = 1", lambda j, i, m: i == j == 1, TWO_D0),
    Row(8, "2", "1 < i = j < M", lambda j, i, m: 1 < i == j < m, TWO),
    Row(8, "3", "i = j = M", lambda j, i, m: i == j == m, (1, 0, 2)),
    Row(
        8,
        "4",
        "i = j+1, i < M",
        lambda j, i, m: i == j + 1 and i < m,
        TWO,
        remark="count right; its map prints d_i → d_{i+1} × d_i, meant is d_j → d_i × d_{i-1}",
    ),
    Row(8, "5", "i = j+1, i = M", lambda j, i, m: i == j + 1 and i == m, TWO_DM),
    Row(8, "6", "j < i-1, i < M", lambda j, i, m: j < i - 1 and i < m, ONE),
    Row(8, "7", "j < i-1, i = M", lambda j, i, m: j < i - 1 and i == m, DM),
    Row(8, "8", "j > i, i = 1 and j < M", lambda j, i, m: j > i and i == 1 and j < m, D0),
    Row(8, "9", "j > i, i = 1 and j = M", lambda j, i, m: j > i and i == 1 and j == m, D0DM),
    Row(8, "10", "j > i, i > 1 and j = M", lambda j, i, m: j > i and i > 1 and j == m, DM),
    Row(8, "11", "j > i, i > 1 and j < M", lambda j, i, m: j > i and i > 1 and j < m, ONE),
)


@dataclass(frozen=True)
class Orbit:
    """One row of table 9: a tensor of kind ``W`` or ``b`` at position m; the fields read as those of `Row`."""

    words: str
    kind: str
    printed: Callable[[int, int], bool]
    count: Count
    meant: Callable[[int, int], bool] | None = None
    remark: str = ""


ORBITS = (
    Orbit(
        "W_1", "W", lambda m, depth: m == 1, D0, remark="count right; the orbits are told apart by the column j, not i"
    ),
    Orbit("W_m, 1 < m < M", "W", lambda m, depth: 1 < m < depth, ONE),
    Orbit("W_M", "W", lambda m, depth: m == depth, DM),
    Orbit(
        "b_i, 1 < m < M",
        "b",
        lambda m, depth: 1 < m < depth,
        ONE,
        lambda m, depth: 1 <= m < depth,
        "b_1 is missing: meant is b_m with 1 ≤ m < M",
    ),
    Orbit("b_M", "b", lambda m, depth: m == depth, DM),
)


def network(depth: int) -> NetworkGraph:
    """The MLP on which we count."""
    return mlp_graph([FIRST, *[HIDDEN] * (depth - 1), LAST])


def symbols(number: int) -> Count:
    """A count with its symbols: 30 is 2 · d_0 · d_M."""
    powers = []
    for prime in (FIRST, LAST):
        power = 0
        while number % prime == 0:
            number, power = number // prime, power + 1
        powers.append(power)
    return number, powers[0], powers[1]


def text(count: Count) -> str:
    """A count for readers."""
    factors = [str(count[0])] if count[0] != 1 else []
    for name, power in (("d_0", count[1]), ("d_M", count[2])):
        if power:
            factors.append(name if power == 1 else f"{name}²")
    return "·".join(factors) or "1"


@cache
def ours(depth: int) -> dict[tuple[str, str], Count]:
    """Our count for every block, by (source, target)."""
    graph = network(depth)
    plan = plan_by_name(graph, expand_blocks(pool="mean"))
    names = [parameter.name for parameter in graph.parameters]
    return {(s, t): symbols(plan.count(s, t)) for s in names for t in names}


@cache
def our_orbits(depth: int) -> dict[str, Count]:
    """Our number of orbits of every tensor."""
    graph = network(depth)
    layouts = [graph.layout(parameter.name) for parameter in graph.parameters]
    return {x.parameter: symbols(x.free * len(orbit_slots(x, exact=True))) for x in layouts}


def blocks(table: int, depth: int) -> Iterator[tuple[int, int, str, str]]:
    """Every block that a table is about: j, i, source, target."""
    source, target = FAMILIES[table]
    for j in range(1, depth + 1):
        for i in range(1, depth + 1):
            yield j, i, f"{source}{j}", f"{target}{i}"


def matches(row: Row, depth: int, corrected: bool) -> list[tuple[str, str]]:
    """The blocks that a row picks."""
    return [(s, t) for j, i, s, t in blocks(row.table, depth) if row.picks(j, i, depth, corrected)]


def differences(row: Row) -> list[str]:
    """Blocks that the row as printed picks and counts otherwise than we do."""
    found = []
    for depth in DEPTHS:
        counts = ours(depth)
        for pair in matches(row, depth, corrected=False):
            if counts[pair] != row.count:
                found.append(f"{pair[0]}→{pair[1]} at M={depth}: {text(counts[pair])}")
    return found


def uncovered(table: int, depth: int) -> tuple[list[str], list[str]]:
    """Blocks for which no row, and for which several rows, are printed."""
    none: list[str] = []
    several: list[str] = []
    for j, i, s, t in blocks(table, depth):
        count = sum(row.picks(j, i, depth, corrected=False) for row in PRINTED if row.table == table)
        if count != 1:
            (several if count else none).append(f"{s}→{t}")
    return none, several


def render() -> str:
    """The page."""
    return "\n".join([HEAD, *(line for table in FAMILIES for line in _table(table)), *_orbits(), *_matrices(), ""])


def _table(table: int) -> list[str]:
    source, target = FAMILIES[table]
    lines = ["", f"## Table {table}: {TITLES[table]} ({source}_j → {target}_i)", ""]
    lines += ["| row | condition, as printed | printed | ours | |", "|---|---|---|---|---|"]
    for row in PRINTED:
        if row.table == table:
            wrong = differences(row)
            counts = {text(ours(m)[pair]) for m in DEPTHS for pair in matches(row, m, corrected=True)}
            verdict = "agrees" if not row.remark else row.remark
            if wrong:
                verdict += f". As printed it picks {'; '.join(wrong)}"
            printed = "" if row.number == "M=2" else text(row.count)
            lines.append(f"| {row.number} | {row.words} | {printed} | {', '.join(sorted(counts))} | {verdict} |")
    gaps = []
    for depth in DEPTHS:
        none, several = uncovered(table, depth)
        gaps += [f"- M = {depth}: no row for {', '.join(none)}."] if none else []
        gaps += [f"- M = {depth}: two rows for {', '.join(several)}."] if several else []
    if gaps:
        return [*lines, "", "Blocks that the conditions as printed leave out or pick twice:", "", *gaps]
    return [*lines, "", "As printed, every block has exactly one row."]


def _orbits() -> list[str]:
    lines = ["", "## Table 9: orbits (equivariant biases, linear invariants)", ""]
    lines += ["| tensor, as printed | printed | ours | |", "|---|---|---|---|"]
    for row in ORBITS:
        meant = row.meant or row.printed
        counts = {text(our_orbits(d)[f"{row.kind}{m}"]) for d in DEPTHS for m in range(1, d + 1) if meant(m, d)}
        lines.append(f"| {row.words} | {text(row.count)} | {', '.join(sorted(counts))} | {row.remark or 'agrees'} |")
    return lines


def _matrices() -> list[str]:
    lines = ["", "## All our counts", "", "From across, to down. The last column is the bias (the number of orbits)."]
    for depth in DEPTHS:
        counts, biases = ours(depth), our_orbits(depth)
        names = [f"{kind}{m}" for kind in "Wb" for m in range(1, depth + 1)]
        lines += ["", f"### M = {depth}", ""]
        lines += ["| | " + " | ".join([*names, "bias"]) + " |", "|---" * (len(names) + 2) + "|"]
        for target in names:
            cells = [text(counts[source, target]) for source in names]
            lines.append(f"| **{target}** | " + " | ".join([*cells, text(biases[target])]) + " |")
    return lines


if __name__ == "__main__":
    PLACE.write_text(render(), encoding="utf-8")
