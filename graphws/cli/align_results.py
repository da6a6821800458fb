"""What ``graphws align`` prints and writes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphws.cli.console import output, table
from graphws.cli.destinations import check_files, check_folder, name_files, write_figures
from graphws.cli.ran import what_ran
from graphws.errors import UsageError

if TYPE_CHECKING:
    from graphws.align import Alignment, Comparison, ManyAlignment, Merging
    from graphws.cli.console import Terminal
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
        overwrite: Whether files that exist are replaced.
    """

    out: Path | None
    merge: Path | None
    json: str | None
    report: Path | None
    overwrite: bool = False

    def check(self, count: int, stems: Sequence[str]) -> None:
        """Refuses what could not be written.

        Raises:
            UsageError: On another ending than .safetensors, a folder that is not there, or names that clash.
        """
        if count > 2 and self.out is not None:
            twice = sorted({stem for stem in stems if stems.count(stem) > 1})
            if twice:
                raise UsageError(f"--output: two networks are called {twice[0]!r}, and would be written to one file")
            if self.out.suffix or self.out.is_file():
                raise UsageError(f"--output must be a folder for more than two networks; got {self.out.name!r}")
            check_folder("--output", self.out, overwrite=self.overwrite)
        written = {"--output": self.out if count == 2 else None, "--merge": self.merge}
        for option, path in written.items():
            if path is not None and path.suffix != ".safetensors":
                raise UsageError(f"{option} must end in .safetensors; got {path.name!r}")
        check_files({**written, "--json": self.json, "--report": self.report}, overwrite=self.overwrite)


def show_comparison(found: Comparison, first: Weights, names: Sequence[str], files: Files) -> None:
    """Two networks: agreement of the parameters, barriers, and the files."""
    from graphws.report.align_page import comparison_page

    if files.out is not None:
        _save(found.alignment.aligned.to(dtype=first.dtype), files.out)
    if files.merge is not None:
        assert found.merged is not None
        _save(found.merged.to(dtype=first.dtype), files.merge)
    _write(found.to_dict(), files, lambda: comparison_page(found, names[0], names[1], what_ran()))
    console = output(files.json)
    rows = [
        [name, f"{found.alignment.before[name]:.3f}", f"{found.alignment.after[name]:.3f}"]
        for name in found.alignment.before
    ]
    console.print(
        table(["parameter", "agreement before", "after"], [*rows, ["all", *(f"{x:.3f}" for x in found.agreement)]])
    )
    console.print()
    _print_candidates(found.alignment, found.loss and f"{found.loss} halfway", console)
    if found.before is not None and found.after is not None:
        console.print(f"{found.loss}, before: {found.before}", markup=False)
        console.print(f"{found.loss}, after:  {found.after}", markup=False)
    if not math.isnan(found.error):
        console.print(f"B computes what it did: its outputs changed by {found.error:.1e}", markup=False)
    else:
        console.print(UNSEEN, markup=False)
    _print_end(found.notes, files, console)


def show_merging(found: Merging, first: Weights, names: Sequence[str], files: Files) -> None:
    """Many networks: how close they came, what their mean loses, and the files."""
    from graphws.report.align_page import merging_page

    if files.out is not None:
        files.out.mkdir(exist_ok=True)
        for k, name in enumerate(names):
            aligned = found.alignment.aligned.select([k]).to(dtype=first.dtype)
            _save(aligned, files.out / f"{Path(name).stem}.safetensors")
    if files.merge is not None:
        _save(found.merged.to(dtype=first.dtype), files.merge)
    _write(found.to_dict(), files, lambda: merging_page(found, names, what_ran()))
    console, record = output(files.json), found.alignment.record
    console.print(f"mean closeness of two networks: {record[0]:.4g} at the start, {record[-1]:.4g} after "
                  f"{len(record) - 1} round{'' if len(record) == 2 else 's'}", markup=False)  # fmt: skip
    console.print()
    _print_candidates(found.alignment, found.loss and f"{found.loss} of the mean", console)
    if found.before is not None and found.after is not None:
        rows = [[name, f"{loss:.4g}"] for name, loss in zip(names, found.each, strict=True)]
        rows += [["mean, as they came", f"{found.before:.4g}"], ["mean, aligned", f"{found.after:.4g}"]]
        console.print(table(["network", found.loss], rows))
        console.print(f"all compute what they did: outputs changed by at most {found.error:.1e}", markup=False)
    else:
        console.print(UNSEEN, markup=False)
    _print_end(found.notes, files, console)


def _print_candidates(alignment: Alignment | ManyAlignment, objective: str, console: Terminal) -> None:
    """What was tried, and what was kept."""
    if len(alignment.candidates) < 2:
        return
    rows = []
    for k, candidate in enumerate(alignment.candidates):
        row = [("* " if k == alignment.kept else "  ") + str(candidate), f"{candidate.distance:.4f}"]
        rows.append([*row, f"{candidate.objective:.4g}"] if candidate.objective is not None else row)
    console.print(table(["tried (* kept)", "weight distance", *([objective] if objective else [])], rows))
    console.print()


def _print_end(notes: Sequence[str], files: Files, console: Terminal) -> None:
    """What people should know, and the files."""
    for note in notes:
        console.print(f"note: {note}")
    name_files({"aligned": files.out, "merged": files.merge, "figures": files.json, "report": files.report}, console)


def _save(weights: Weights, path: Path) -> None:
    from safetensors.torch import save

    from graphws.runtime.files import write_bytes

    state = weights.to_state_dict()
    write_bytes(path, save({name: tensor.clone().contiguous() for name, tensor in state.items()}))


def _write(figures: Mapping[str, Any], files: Files, page: Callable[[], str]) -> None:
    from graphws.runtime.files import write_text

    write_figures(figures, files.json)
    if files.report is not None:
        write_text(files.report, page())
