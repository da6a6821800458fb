"""Splits that a table says: by file, by number, under a limit, and every way in which it can be wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from graphws.errors import ZooError
from graphws.spec import SplitSection, parse_spec
from graphws.zoo import Architecture, FitOptions, Limit, SplitOptions, SplitTable, fit_zoo, load_digits
from graphws.zoo.table import write_table

DIGITS = load_digits(limit=6)
FILED = replace(DIGITS, table={**DIGITS.table, "file": np.array([f"a/{k}.png" for k in range(6)], dtype=object)})
PARTS = ["train", "val", "test", "train", "validation", "train"]
WANTED = ["train", "validation", "test", "train", "validation", "train"]


def csv_of(path: Path, column: str, names: list[object], parts: list[str] = PARTS) -> Path:
    rows = [f"{name},x,{part}" for name, part in zip(names, parts, strict=True)]
    path.write_text(f"{column},note,split\n" + "\n".join(rows) + "\n")
    return path


def test_by_number_in_any_order(tmp_path: Path) -> None:
    path = csv_of(tmp_path / "s.csv", "sample", list(range(6))[::-1], PARTS[::-1])
    assert SplitTable(path).of(DIGITS).tolist() == WANTED
    assert SplitTable(path).of(FILED).tolist() == WANTED


def test_by_file(tmp_path: Path) -> None:
    path = csv_of(tmp_path / "s.csv", "file", [f"a/{k}.png" for k in range(6)])
    assert SplitTable(path).of(FILED).tolist() == WANTED
    with pytest.raises(ZooError) as caught:
        SplitTable(path).of(DIGITS)
    assert str(caught.value) == f"{path}: it needs a column 'sample'; has file, note, split"


def test_files_that_several_samples_have_do_not_name_them(tmp_path: Path) -> None:
    twice = replace(FILED, table={**FILED.table, "file": np.array(["1.png"] * 6, dtype=object)})
    path = csv_of(tmp_path / "s.csv", "file", ["1.png"] * 6)
    with pytest.raises(ZooError) as caught:
        SplitTable(path).of(twice)
    assert str(caught.value) == f"{path}: several samples have one file; name them by a column 'sample'"
    path.write_text("file,sample,split\n" + "".join(f"1.png,{k},{part}\n" for k, part in enumerate(PARTS)))
    assert SplitTable(path).of(twice).tolist() == WANTED


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    write_table(path, {"sample": np.arange(6), "split": np.array(PARTS, dtype=object)})
    assert SplitTable(path).of(DIGITS).tolist() == WANTED


def test_one_table_serves_every_limit(tmp_path: Path) -> None:
    whole = load_digits()
    parts = [WANTED[k % 6] for k in range(len(whole))]
    path = csv_of(tmp_path / "s.csv", "sample", list(range(len(whole))), parts)
    for limit in (None, 40, Limit(train=40, seed=5)):
        samples = load_digits(limit=limit)
        assert SplitTable(path).of(samples).tolist() == [parts[k] for k in samples.places]
    assert not np.array_equal(load_digits(limit=Limit(train=40, seed=5)).places, np.arange(40))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sample,split\n0,train\n3,test\n", "no row for 4 of 6 samples; the first is sample 1"),
        ("sample,split\n0,train\n1,test\n0,test\n", "rows 2 and 4 both name sample 0"),
        ("sample,part\n0,train\n", "it needs a column 'split'; has sample, part"),
        ("number,split\n0,train\n", "it needs a column 'sample'; has number, split"),
        ("sample,split\nzero,train\n", "the column 'sample' must hold whole numbers"),
        ("sample,split\n" + "".join(f"{k},tets\n" for k in range(6)),
         "split 'tets'; there are train, validation, test; did you mean 'test'?"),
        ("sample,split\n" + "".join(f"{k},test\n" for k in range(6)), "nothing of 6 samples is left to train on"),
        ("sample,split\n0\n", "row 2 has 1 fields, the first line 2"),
        ("", "its first line must name the columns, each once"),
    ],
)  # fmt: skip
def test_wrong_tables(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "s.csv"
    path.write_text(text)
    with pytest.raises(ZooError) as caught:
        SplitTable(path).of(DIGITS)
    assert str(caught.value) == f"{path}: {message}"


def test_no_table_and_no_parquet(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="^" + str(tmp_path / "s.csv")):
        SplitTable(tmp_path / "s.csv").of(DIGITS)
    (tmp_path / "s.parquet").write_bytes(b"PAR1 and nothing else PAR1")
    with pytest.raises(ZooError, match=r"s\.parquet: not a readable Parquet file"):
        SplitTable(tmp_path / "s.parquet").of(DIGITS)


def test_a_zoo_has_the_split_of_its_table_and_remembers_it(tmp_path: Path) -> None:
    path = csv_of(tmp_path / "s.csv", "sample", list(range(6)))
    split = parse_spec(f"graphws: 1\nzoo: {{split: {{table: {path}}}}}").zoo.split.build()  # type: ignore[union-attr]
    assert split == SplitTable(path)
    architecture, options = Architecture((2, 4, 1)), FitOptions(steps=2, views=2)
    zoo = fit_zoo(tmp_path / "zoo", DIGITS, architecture, options, split)
    assert zoo is not None
    assert zoo.table["split"].tolist() == WANTED * 2
    other = csv_of(tmp_path / "other.csv", "sample", list(range(6))[::-1], PARTS[::-1])
    assert fit_zoo(tmp_path / "zoo", DIGITS, architecture, options, SplitTable(other)) is not None, "it says the same"
    csv_of(path, "sample", list(range(6)), ["train"] * 5 + ["test"])
    with pytest.raises(ZooError, match=r"exists already, made otherwise \(split.table: "):
        fit_zoo(tmp_path / "zoo", DIGITS, architecture, options, split)


def test_shares_are_as_they_were() -> None:
    assert SplitSection(validation=0.2).build() == SplitOptions(validation=0.2)
    assert SplitOptions().settings(np.array([])) == {"validation": 0.1, "test": 0.2, "seed": 0}
