"""What a notebook shows of objects: safe, bounded, and with the picture."""

from __future__ import annotations

import base64
import pkgutil
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

import graphws
from graphws.checkpoints import Conversion
from graphws.errors import RunError
from graphws.graph import NetworkGraph, Parameter, Space
from graphws.layers.explain import explain
from graphws.notebook import views
from graphws.operations import mlp_graph
from graphws.report.graph.formats import graph_picture
from graphws.runtime.prediction import Predictions
from graphws.shown import Shown
from tests.notebook import objects

HOSTILE = "<script>alert(1)</script>\x1b[2K\u202e"
LONGEST = 700_000
"""Characters of HTML, pictures included."""
VOID = {"img", "meta", "br"}


class Tags(HTMLParser):
    """Reads HTML and keeps its tags; what is opened has to be closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def html(thing: Shown) -> str:
    """The HTML of an object, checked to be safe and bounded."""
    found = thing._repr_html_()
    assert found is not None
    assert len(found) <= LONGEST
    check(found)
    return found


def check(text: str) -> None:
    """Refuses HTML that is not whole, or has more in it than texts, tables and pictures."""
    tags = Tags(text)
    known = {
        "div",
        "b",
        "details",
        "summary",
        "img",
        "figure",
        "figcaption",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    }
    assert set(tags.found) <= known
    assert {name for name, _ in tags.attributes} <= {"class", "style", "alt", "src", "role", "tabindex", "aria-label"}
    assert all(str(value).startswith("data:image/") for name, value in tags.attributes if name == "src")
    assert not set("\x1b\u202e") & set(text)


def picture(text: str, kind: str) -> bytes:
    """The first picture of a kind in HTML."""
    data = re.search(rf'src="data:image/{re.escape(kind)};base64,([^"]+)"', text)
    assert data is not None
    return base64.b64decode(data[1])


def hostile_graph() -> NetworkGraph:
    spaces = (Space("x", 3, "free"), Space("h", 4), Space("y", 2, "free"))
    return NetworkGraph(spaces, (Parameter("<script>alert(1)</script>", "h x*"), Parameter("<b>W2", "y h*")))


def test_the_checker_refuses_markup_from_files() -> None:
    for bad in ("<script>1</script>", "<div onclick='x'>1</div>", "<div><b></div>", "<img src='https://x'>", "\x1b"):
        with pytest.raises(AssertionError):
            check(bad)


@pytest.fixture(scope="module")
def found() -> dict[str, object]:
    return objects.quick()


@pytest.mark.parametrize(
    ("name", "texts", "kind"),
    [
        ("graph", ("<b>NetworkGraph(4 spaces, 6 parameters", "<td>hidden1, input*</td>"), "svg+xml"),
        ("conversion", ("<b>VERIFIED (error ", "runs: yes", "actions beyond permutations"), "svg+xml"),
        ("layer", ("<b>layer: 1 -&gt; 1 channels, 330 parameters</b>", "max over hidden1"), "png"),
        ("model", ("<b>ModelExplanation(dwsnet, 2 equivariant layers)</b>", "layer 2: layer: "), "png"),
        ("actions", ("<b>Exact action: mirror acts on every layer", "<th>K-error</th>", "<td>hidden2</td>"), "png"),
        ("reduction", ("<td>hidden1</td><td>24</td><td>23</td>", "outputs change by"), None),
        ("comparison", ("<b>Comparison of two networks</b>", "as they came: barrier", "<td>W2</td>"), "png"),
        ("merging", ("<b>Merging of many networks</b>", "mean, aligned: distance "), "png"),
    ],
)
def test_objects_are_drawn(name: str, texts: tuple[str, ...], kind: str | None, found: dict[str, object]) -> None:
    thing = found[name]
    assert isinstance(thing, Shown)
    text = html(thing)
    assert not [wanted for wanted in texts if wanted not in text]
    if kind is not None:
        assert picture(text, kind).startswith(b"\x89PNG" if kind == "png" else b"<?xml")


def test_a_graph_is_drawn_as_inspect_draws_it() -> None:
    assert picture(html(objects.GRAPH), "svg+xml") == graph_picture(objects.GRAPH, Path("x.svg"))


def test_very_large_graphs_are_tables() -> None:
    for large in (mlp_graph([2, *[8] * 200, 1]), mlp_graph([2, *[4] * 700, 1])):
        text = html(large)
        assert "<img" not in text
        assert "more rows" in text
    assert len(text) < 20_000


def test_what_has_no_more_than_its_text_gives_no_html(found: dict[str, object]) -> None:
    for name in ("weights", "verification", "group", "layout", "spec"):
        thing = found[name]
        assert isinstance(thing, Shown)
        assert thing._repr_html_() is None, name


def test_text_of_files_is_text(found: dict[str, object]) -> None:
    graph = hostile_graph()
    conversion = Conversion(graph, reason=HOSTILE, notes=(HOSTILE,) * 30)
    assert "&lt;script&gt;" in html(graph)
    assert html(conversion).count("&lt;script&gt;alert(1)&lt;/script&gt;\\x1b[2K\\u202e") == 21
    assert "&lt;b&gt;W2" in html(explain(graph))
    weights = graphws.Weights.unflatten(graph, torch.randn(2, graph.numel, generator=objects.rng()))
    assert "<td>&lt;script&gt;" in html(graphws.align.compare(weights.select([0]), weights.select([1])))
    actions = found["actions"]
    assert isinstance(actions, graphws.actions.Actions)
    said = replace(actions.verdict, text=HOSTILE)
    assert html(replace(actions, verdict=said, note=HOSTILE)).count("&lt;script&gt;") == 2
    answers = Predictions((HOSTILE,), {HOSTILE: [HOSTILE]}, skipped=((HOSTILE, HOSTILE * 1000),))
    assert html(answers).count("&lt;script&gt;") >= 5


def test_columns_of_a_zoo_are_text(tmp_path: Path) -> None:
    zoo = objects.mixed.make(tmp_path / "<b>zoo")
    zoo.table[HOSTILE] = np.array([HOSTILE * 100] * len(zoo), dtype=object)
    text = html(zoo)
    assert text.count("<tr>") == 11
    assert "<b>zoo" not in text


def test_views_stand_where_their_classes_do() -> None:
    """The law by which `html_of` finds them."""
    names = {module.name for module in pkgutil.iter_modules(views.__path__)}
    for name in names:
        views._load(name)
    kinds = [kind for kind in views._view.registry if kind is not object]
    assert {kind.__module__.split(".")[1] for kind in kinds} == names
    assert all(issubclass(kind, Shown) for kind in kinds)


def test_a_graph_loads_no_training() -> None:
    code = (
        "import sys, graphws; found = graphws.mlp_graph([2, 3, 1])._repr_html_(); "
        "assert '<img' in found; assert not {'lightning', 'graphws.runtime', 'graphws.align'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_runs_and_their_answers(tmp_path: Path) -> None:
    run, zoo = objects.run(tmp_path)
    text = html(run)
    assert "<td>dwsnet</td>" in text
    assert picture(text, "png").startswith(b"\x89PNG")
    assert repr(run) == f"Run({str(tmp_path / 'run')!r}: dwsnet; reads 3 graphs)"
    answers = run.predict(zoo.weights([0]))
    assert repr(answers) == "Predictions(1 networks: size)"
    assert list(answers) == answers.rows()
    assert "<th>size</th>" in html(answers)
    assert run.results is not None
    assert repr(run.results) == f"Results({run.results.sentence()})"
    assert run.results.sentence() in html(run.results)
    (tmp_path / "run" / "results.json").unlink()
    assert "not complete: there are no scores yet" in html(graphws.Run.load(tmp_path / "run"))
    (tmp_path / "run" / "results.json").write_text("{}")
    with pytest.raises(RunError, match=r"results\.json is damaged: metric: Field required"):
        _ = graphws.Run.load(tmp_path / "run").results
