"""What ``graphws align`` prints and writes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphws.cli.console import output, table
from graphws.errors import UsageError

if TYPE_CHECKING:
    from graphws.align import Alignment, Comparison, ManyAlignment, Merging
    from graphws.graph import Weights

UNSEEN = "outputs were not compared: give --data; aligning is exact by the graph's symmetry"


@dataclass(frozen=True)
class Files:
    """Where results go, as far as they were asked for.

    Attributes:
        out: The second network, aligned; or the folder of all of many.
        merge: The mean of the aligned networks.
        json: The figures.
        report: The page.
    """

    out: Path | None
    merge: Path | None
    json: Path | None
    report: Path | None

    def check(self, count: int, stems: Sequence[str]) -> None:
        """Refuses what could not be written.

        Raises:
            UsageError: On another ending than .safetensors, a folder that is not there, or names that clash.
        """
        if count > 2 and self.out is not None:
            twice = sorted({stem for stem in stems if stems.count(stem) > 1})
            if twice:
                raise UsageError(f"--out: two networks are called {twice[0]!r}, and would be written to one file")
            if self.out.suffix or self.out.is_file():
                raise UsageError(f"--out must be a folder for more than two networks; got {self.out.name!r}")
        for option, path in (("--out", self.out if count == 2 else None), ("--merge", self.merge)):
            if path is not None and path.suffix != ".safetensors":
                raise UsageError(f"{option} must end in .safetensors; got {path.name!r}")
        for option, path in (
            ("--out", self.out),
            ("--merge", self.merge),
            ("--json", self.json),
            ("--report", self.report),
        ):
            if path is not None and not path.absolute().parent.is_dir():
                raise UsageError(f"{option} {path}: there is no folder {path.parent}")


def show_comparison(found: Comparison, first: Weights, names: Sequence[str], files: Files) -> None:
    """Two networks: agreement of the parameters, barriers, and the files."""
    from graphws.report.align_page import comparison_page

    console = output()
    rows = [
        [name, f"{found.alignment.before[name]:.3f}", f"{found.alignment.after[name]:.3f}"]
        for name in found.alignment.before
    ]
    console.print(
        table(["parameter", "agreement before", "after"], [*rows, ["all", *(f"{x:.3f}" for x in found.agreement)]])
    )
    console.print()
    _print_candidates(found.alignment, found.loss and f"{found.loss} halfway")
    if found.before is not None and found.after is not None:
        console.print(f"{found.loss}, before: {found.before}", markup=False)
        console.print(f"{found.loss}, after:  {found.after}", markup=False)
    if not math.isnan(found.error):
        console.print(f"B computes what it did: its outputs changed by {found.error:.1e}", markup=False)
    else:
        console.print(UNSEEN, markup=False)
    _print_notes(found.notes)
    if files.out is not None:
        _save(found.alignment.aligned.to(dtype=first.dtype), files.out, "aligned")
    if files.merge is not None:
        assert found.merged is not None
        _save(found.merged.to(dtype=first.dtype), files.merge, "merged")
    _figures(found.to_dict(), files, lambda: comparison_page(found, names[0], names[1]))


def show_merging(found: Merging, first: Weights, names: Sequence[str], files: Files) -> None:
    """Many networks: how close they came, what their mean loses, and the files."""
    from graphws.report.align_page import merging_page

    console, record = output(), found.alignment.record
    console.print(f"mean closeness of two networks: {record[0]:.4g} at the start, {record[-1]:.4g} after "
                  f"{len(record) - 1} round{'' if len(record) == 2 else 's'}", markup=False)  # fmt: skip
    console.print()
    _print_candidates(found.alignment, found.loss and f"{found.loss} of the mean")
    if found.before is not None and found.after is not None:
        rows = [[name, f"{loss:.4g}"] for name, loss in zip(names, found.each, strict=True)]
        rows += [["mean, as they came", f"{found.before:.4g}"], ["mean, aligned", f"{found.after:.4g}"]]
        console.print(table(["network", found.loss], rows))
        console.print(f"all compute what they did: outputs changed by at most {found.error:.1e}", markup=False)
    else:
        console.print(UNSEEN, markup=False)
    _print_notes(found.notes)
    if files.out is not None:
        files.out.mkdir(exist_ok=True)
        for k, name in enumerate(names):
            aligned = found.alignment.aligned.select([k]).to(dtype=first.dtype)
            _save(aligned, files.out / f"{Path(name).stem}.safetensors", "aligned")
    if files.merge is not None:
        _save(found.merged.to(dtype=first.dtype), files.merge, "merged")
    _figures(found.to_dict(), files, lambda: merging_page(found, names))


def _print_candidates(alignment: Alignment | ManyAlignment, objective: str) -> None:
    """What was tried, and what was kept."""
    if len(alignment.candidates) < 2:
        return
    rows = []
    for k, candidate in enumerate(alignment.candidates):
        row = [("* " if k == alignment.kept else "  ") + str(candidate), f"{candidate.distance:.4f}"]
        rows.append([*row, f"{candidate.objective:.4g}"] if candidate.objective is not None else row)
    console = output()
    console.print(table(["tried (* kept)", "weight distance", *([objective] if objective else [])], rows))
    console.print()


def _print_notes(notes: Sequence[str]) -> None:
    for note in notes:
        output().print(f"note: {note}", markup=False)


def _save(weights: Weights, path: Path, what: str) -> None:
    from safetensors.torch import save

    from graphws.runtime.files import write_bytes

    state = weights.to_state_dict()
    write_bytes(path, save({name: tensor.clone().contiguous() for name, tensor in state.items()}))
    output().print(f"{what}: {path}", markup=False)


def _figures(figures: Mapping[str, Any], files: Files, page: Callable[[], str]) -> None:
    import json

    from graphws.runtime.files import write_bytes

    if files.json is not None:
        write_bytes(files.json, (json.dumps(figures, indent=2) + "\n").encode())
        output().print(f"figures: {files.json}", markup=False)
    if files.report is not None:
        write_bytes(files.report, page().encode())
        output().print(f"report: {files.report}", markup=False)
