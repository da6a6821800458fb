"""What comes from a file is shown, never obeyed: on terminals, in errors, in pages and pictures."""

from __future__ import annotations

import io
import json
import sys
import unicodedata
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from matplotlib.figure import Figure
from rich.console import Console
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from graphws.checkpoints.conversion import Conversion
from graphws.checkpoints.network_file import save_network
from graphws.cli.console import Bars, Terminal, table
from graphws.cli.guard import explain_failure
from graphws.errors import GraphwsError, nearest
from graphws.operations import mlp_graph
from graphws.operations.sampling import random_weights
from graphws.printable import printable
from graphws.report.figures import png
from graphws.report.graph.formats import graph_picture
from graphws.report.page import Page, Table, html
from graphws.report.plain_figures import settle_texts
from graphws.spec import parse_spec
from graphws.spec.problems import InvalidSpec
from tests.cli.runs import run

FAKE = "\x1b[2K\r\x1b[1AVERIFIED (error 0.0e+00)\x1b[8m\n\u202e\u2028\x9b\x7f"
SHOWN = r"\x1b[2K\r\x1b[1AVERIFIED (error 0.0e+00)\x1b[8m\n\u202e\u2028\x9b\x7f"


def test_every_character_of_unicode_is_visible_or_written_out() -> None:
    for code in range(sys.maxunicode + 1):
        shown = printable(chr(code))
        kept = shown == chr(code)
        assert kept == (unicodedata.category(chr(code))[0] not in "C" and unicodedata.category(chr(code)) not in "ZlZp")
        assert kept or shown.isascii()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (FAKE, SHOWN),
        ("größe 5×5 → 漢字", "größe 5×5 → 漢字"),
        ("a\tb", r"a\tb"),
        ("half \udcff", r"half \udcff"),
        ("\U000e0041", r"\U000e0041"),
        (r"\x1b stays", r"\x1b stays"),
    ],
)
def test_texts(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown
    assert printable(text, lines=True) == shown.replace(r"\n", "\n").replace(r"\t", "\t")


def _terminal() -> Terminal:
    return Terminal(file=io.StringIO(), force_terminal=True, width=200, highlight=False, soft_wrap=True)


def _shown(console: Terminal) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_lines_tables_and_notes() -> None:
    console = _terminal()
    console.print(FAKE)
    console.print(table([FAKE], [[FAKE], ["[bold]x"]], title=FAKE))
    Bars(console).note(FAKE)
    shown = _shown(console)
    assert shown.count("VERIFIED") == shown.count(SHOWN) == 5
    assert "[bold]x" in shown


def test_progress() -> None:
    console = _terminal()
    bars = Bars(console)
    with bars.work(FAKE):
        pass
    bars.start(FAKE, 3, FAKE)
    bars.step(1, {f"val_{FAKE}": 0.5})
    bars.end()
    assert "\x1b[1AVERIFIED" not in _shown(console)
    assert "\x1b[8m" not in _shown(console)
    assert "\u202e" not in _shown(console)


def test_errors() -> None:
    assert explain_failure(GraphwsError(FAKE)) == (f"error: {SHOWN}", 1)
    assert explain_failure(FileNotFoundError(2, "gone", FAKE)) == (f"error: {SHOWN}: gone", 1)
    assert explain_failure(RuntimeError(FAKE))[0].startswith(f"internal error: RuntimeError: {SHOWN} (")
    assert str(GraphwsError(FAKE)) == SHOWN, "tracebacks show it too"


def test_a_spec(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(f"graphws: 1\n{json.dumps(FAKE)}: 1\n")
    result = run("check", tmp_path / "spec.yaml")
    assert result.exit_code == 2
    assert not {"\x1b", "\r", "\u202e", "\u2028", "\x9b"} & set(result.stderr)
    assert not any(line.startswith("VERIFIED") for line in result.stderr.splitlines())


def _file(path: Path, **changes: str) -> Path:
    graph = mlp_graph([3, 5, 2], "tanh")
    save_network(Conversion(graph, random_weights(graph, 1, torch.Generator(), torch.float32)), path)
    with safe_open(str(path), framework="pt") as archive:
        metadata = dict(archive.metadata())
    if "role" in changes:
        document = json.loads(metadata["graph"])
        document["spaces"][0]["role"] = changes.pop("role")
        changes["graph"] = json.dumps(document)
    save_file(load_file(path), path, {**metadata, **changes})
    return path


@pytest.mark.parametrize(
    ("changes", "command"),
    [
        ({"notes": json.dumps([FAKE])}, "convert"),
        ({"reason": FAKE}, "inspect"),
        ({"reason": FAKE}, "convert"),
        ({"role": FAKE}, "inspect"),
    ],
)
def test_network_files(tmp_path: Path, changes: dict[str, str], command: str) -> None:
    result = run(command, _file(tmp_path / "net.safetensors", **changes))
    assert result.exit_code == 0, result.output
    assert SHOWN in result.stdout
    assert not any(line.startswith("VERIFIED") for line in result.stdout.splitlines())


def test_keys_of_a_state_dict(tmp_path: Path) -> None:
    torch.save({FAKE + ".weight": torch.ones(2, 2)}, tmp_path / "keys.pt")
    for options in ([], ["--activation", "relu"]):
        assert not {"\x1b", "\r", "\u202e"} & set(run("convert", tmp_path / "keys.pt", *options).output)


def test_a_graph_as_json_is_ascii_and_still_says_the_same(tmp_path: Path) -> None:
    result = run("inspect", _file(tmp_path / "net.safetensors", role=FAKE), "--json", "-")
    assert result.stdout.isascii()
    assert json.loads(result.stdout)["graph"]["spaces"][0]["role"] == FAKE


def test_pages() -> None:
    text = html(Page(FAKE, FAKE, Table((FAKE,), [(FAKE,)]), (), {FAKE: "<b>"}, FAKE))
    assert not {"\x1b", "\r", "\u202e", "\u2028", "\x9b"} & set(text)
    assert "&lt;b&gt;" in text


@pytest.mark.parametrize("suffix", [".svg", ".html", ".png"])
def test_pictures_of_graphs(tmp_path: Path, suffix: str) -> None:
    from graphws.checkpoints.network_file import load_network

    found = load_network(_file(tmp_path / "net.safetensors", role=FAKE + r"$\frac$"))
    picture = graph_picture(found, Path("graph" + suffix), FAKE)
    if suffix != ".png":
        assert not {"\x1b", "\r", "\u202e", "\x9b"} & set(picture.decode())
    if suffix == ".svg":
        ElementTree.fromstring(picture)


def test_names_in_pictures_are_no_formulas() -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.plot([1, 2], [1, 100], label=r"$\nosuch$")
    axes.set(title=r"$\nosuch$ " + FAKE, xlabel="$x$")
    axes.set_xticks([1, 2], [r"$\nosuch$", FAKE])
    axes.set_yscale("log")
    axes.legend()
    assert png(figure)
    assert axes.get_title() == r"$\nosuch$ " + SHOWN.replace(r"\n", "\n")
    settle_texts(figure)
    assert png(figure)


def test_a_terminal_is_a_console() -> None:
    assert issubclass(Terminal, Console)


def test_long_texts_are_shown_in_part() -> None:
    text = "a" * 5000 + "\x1b" + "z" * 5000
    assert str(GraphwsError(text)) == "a" * 1331 + " … " + "z" * 666
    assert len(str(GraphwsError("\x1b" * 10**6))) == 2000
    assert printable("short", most=5) == "short"
    console = _terminal()
    console.print(text * 10)
    console.print(table(["a"], [[text]]))
    assert max(map(len, _shown(console).splitlines())) <= 20_000


def test_long_tables_are_shown_in_part() -> None:
    console = _terminal()
    console.print(table(["name"], [[f"row {k}"] for k in range(2005)]))
    assert _shown(console).splitlines()[-1].strip() == "and 5 more"
    assert "row 1999" in _shown(console)
    assert "row 2000" not in _shown(console)


def test_names_between_colons_are_no_pictures() -> None:
    console = _terminal()
    console.print(":warning:")
    console.print(table([":x:"], [[":heavy_check_mark:"]]))
    assert all(name in _shown(console) for name in (":warning:", ":x:", ":heavy_check_mark:"))


def test_hints_for_long_names_are_not_looked_for() -> None:
    assert nearest("x" * 100_000, ["x" * 99_999]) == ""
    assert nearest("name", (f"nam{k}" for k in range(10**9))) == "; did you mean 'nam9'?"


def test_the_first_of_many_mistakes_are_shown() -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_spec("graphws: 1\n" + "".join(f"key{k}: 1\n" for k in range(1000)))
    count = len(caught.value.problems)
    assert count >= 1000
    assert str(caught.value).splitlines()[-1] == f"and {count - 100} more problems"
