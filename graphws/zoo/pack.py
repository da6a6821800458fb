"""A folder of networks, as people have them and as zoos are published, as a zoo.

What a folder holds a *layout* tells (`graphws.zoo.collecting.layouts`); networks of equal keys, shapes and types are of
one *architecture*, which is converted once.  Of a state dict nobody can see what it computes: one network that can be
converted says it (`like`), or it is an MLP whose activation the caller says.  A share of all networks is put through
the numeric gate with their own numbers.

Labels come from a ``labels.csv`` or ``labels.parquet`` in the folder, if there is one: its column ``file`` names the
networks, the others become columns of the table; ``split`` and ``sample`` keep their meaning.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from graphws.errors import UsageError, ZooError
from graphws.zoo.collecting.architectures import Alike
from graphws.zoo.collecting.attributes import Attributes
from graphws.zoo.collecting.check import SHARE
from graphws.zoo.collecting.collection import Collection
from graphws.zoo.collecting.layout import Choices
from graphws.zoo.collecting.tables import TableOptions
from graphws.zoo.split import SplitOptions
from graphws.zoo.store import Zoo
from graphws.zoo.writer import building

Progress = Callable[[str, int, int], None]


def pack(
    folder: str | Path,
    out: str | Path,
    *,
    layout: str | None = None,
    like: Sequence[Alike] = (),
    activation: str | Sequence[str] | None = None,
    omega: float | Sequence[float] | None = None,
    slope: float | None = None,
    exponent: int | None = None,
    labels: str | Path | None = None,
    file_column: str = "file",
    split_column: str = "split",
    splits: str | Path | None = None,
    split_at: tuple[int, int] | None = None,
    where: Sequence[tuple[str, str]] = (),
    split: SplitOptions | None = None,
    check: float = SHARE,
    workers: int = 1,
    skip_bad: bool = False,
    progress: Progress = lambda work, done, total: None,
) -> Zoo:
    """Makes a zoo of the networks in a folder.

    Packing that was stopped goes on where it was: what was read stands in ``OUT.partial``.

    Args:
        folder: The networks.
        out: The zoo's folder.  A zoo that is there already is opened where it is the same.
        layout: How they lie there, one of `graphws.zoo.collecting.layouts.LAYOUTS`; seen where None.
        like: Networks that say what state dicts are: sources for `graphws.convert`, conversions, or pairs of a module
            and example inputs.  Found by keys and shapes.
        activation: Of the hidden layers of MLPs, one for all or one each; relu for plain state dicts where None.
        omega: Frequency of sines, one for all or one each.
        slope: Of ``leaky_relu``.
        exponent: Of ``power``.
        labels: A CSV or Parquet file; ``labels.csv`` or ``labels.parquet`` in the folder where None.
        file_column: Its column that names the networks.
        split_column: Its column that says the split.
        splits: The file of splits of a layout that has one, where it is not clear which.
        split_at: Of a layout whose samples are numbered: those below the first are for training, below the second for
            validation.
        where: Only networks with these values in these columns.
        split: How to split the networks where nothing says it; all are ``train`` where None.
        check: Share of each architecture that is put through the gate; at least one network, unless it is 0.
        workers: Processes that read.  More than one needs to be called under ``if __name__ == "__main__"``.
        skip_bad: Whether to leave out networks that cannot be read or are of no known architecture; they are listed in
            the zoo's provenance under ``skipped``.
        progress: Called with what is done, the number of networks done, and of all.

    Raises:
        UsageError: Where the caller must say more, or has said something that is wrong.
        ZooError: Naming the files that cannot be packed; on labels that do not match the files; on an `out` that exists
            and is anything else.
    """
    if workers < 1:
        raise UsageError(f"workers is a number of processes, got {workers}")
    folder, out = Path(folder), Path(out)
    collection = Collection(
        folder,
        layout,
        Choices(
            None if splits is None else Path(splits),
            split_at,
            tuple(where),
            Attributes(activation, omega, exponent, slope),
        ),
        TableOptions(None if labels is None else Path(labels), file_column, split_column, split),
    )
    with building(out) as partial:
        try:
            collection.read(partial, like, workers, skip_bad, progress)
            if out.exists():
                zoo = collection.opened(out)
                shutil.rmtree(partial, ignore_errors=True)
                return zoo
            collection.finish(out, check, progress)
        except ZooError:
            if not collection.long:  # what took long stays for the next call, which may be one with --skip-bad
                shutil.rmtree(partial, ignore_errors=True)
            raise
        except UsageError:
            if not collection.long:
                shutil.rmtree(partial, ignore_errors=True)
            raise
    return Zoo.open(out)
