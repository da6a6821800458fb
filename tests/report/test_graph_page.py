from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graphws.checkpoints.conversion import Conversion
from graphws.errors import UsageError
from graphws.graph import NetworkGraph
from graphws.operations import mlp_graph
from graphws.operations.verify import Verification
from graphws.report.graph.formats import graph_picture
from graphws.report.graph.page import LONGEST_NAME, graph_page
from tests.report.browser import dom, screenshot, use
from tests.report.graph_samples import convolutions, hostile, transformer


class _Reader(HTMLParser):
    """Tags with attributes, and the text of each script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_script = tag == "script"
        if self._in_script:
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.scripts[-1] += data


def _data(page: str) -> dict[str, list[dict[str, object]]]:
    return json.loads(_Reader(page).scripts[0])


def test_the_page_holds_the_graph_and_the_figures_of_its_verification() -> None:
    graph = transformer()
    page = graph_page(Conversion(graph, verification=Verification(2.5e-15, 0.31, 3, "rich")), "a model")
    data = _data(page)
    assert [space["name"] for space in data["spaces"]] == [space.name for space in graph.spaces]
    assert [p["name"] for p in data["params"]] == [p.name for p in graph.parameters]
    assert data["spaces"][0]["reason"] == "rows are looked up"
    for text in ("<title>a model</title>", ">VERIFIED</span>", "2.5e-15", "3.1e-01", "rich"):
        assert text in page
    unproven = graph_page(Conversion(graph, reason="no <inputs>", notes=("a & b",)))
    for text in (">UNVERIFIED</span>", "no &lt;inputs&gt;", "<li>a &amp; b</li>"):
        assert text in unproven
    assert "a graph without weights" in graph_page(graph)


def test_the_same_graph_gives_the_same_page() -> None:
    assert graph_page(transformer(), "t") == graph_page(NetworkGraph.from_json(transformer().to_json()), "t")


@pytest.mark.parametrize("graph", [transformer(2), hostile(), convolutions(), NetworkGraph((), ())])
def test_nothing_comes_from_outside_and_no_name_leaves_its_place(graph: NetworkGraph) -> None:
    evil = "</title></script><script src=//x>"
    page = graph_page(Conversion(graph, reason=evil, notes=(evil,)), evil)
    reader = _Reader(page)
    assert [attributes.get("type") for tag, attributes in reader.tags if tag == "script"] == ["application/json", None]
    assert not any({"src", "href", "onerror", "style"} & set(attributes) for _, attributes in reader.tags)
    assert not {tag for tag, _ in reader.tags} & {"img", "link", "iframe", "object", "embed", "base"}
    assert not re.search(r"@import|url\((?!#)", page)
    assert set(re.findall(r"https?://[^\s\"'<]+", page)) == {"http://www.w3.org/2000/svg"}, "a name, never fetched"
    policy = next(a["content"] for t, a in reader.tags if t == "meta" and "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy


def test_the_script_never_makes_markup_of_text() -> None:
    script = _Reader(graph_page(transformer(2))).scripts[1]
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "fetch("):
        assert word not in script


def test_long_names_are_cut() -> None:
    assert max(len(str(p["name"])) for p in _data(graph_page(hostile()))["params"]) == LONGEST_NAME


def test_the_suffix_decides_the_format(tmp_path: Path) -> None:
    graph = transformer()
    for name, start in (("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.HTML", b"<!doctype html>")):
        content = graph_picture(graph, tmp_path / name)
        assert content.startswith(start)
        assert content == graph_picture(graph, tmp_path / name)
    text = graph_picture(graph, tmp_path / "a.svg").decode()
    for word in ("wte", "attn", "q/head", "h.1 … 5", "5 equal blocks", "tokens"):
        assert word in text
    message = r"^a\.pdf: the name of a picture ends in \.png, \.svg or \.html \(interactive\), not in '\.pdf'$"
    with pytest.raises(UsageError, match=message):
        graph_picture(graph, Path("a.pdf"))


def _page(tmp_path: Path, graph: NetworkGraph) -> Path:
    path = tmp_path / "page.html"
    path.write_text(graph_page(graph, "a model"), encoding="utf-8")
    return path


def _shown(text: str) -> set[str]:
    return set(re.findall(r'data-name="([^"]*)"', text))


@pytest.mark.slow
def test_a_browser_folds_unfolds_searches_and_explains(tmp_path: Path) -> None:
    graph = transformer()
    page = _page(tmp_path, graph)
    everything = {space.name for space in graph.spaces}
    assert 'data-ready="yes"' in (start := dom(page))
    assert _shown(start) == {"tokens", "wte", "classes", *(n for n in everything if ".h.0." in n)}
    assert _shown(dom(page, "fold=all")) == {"tokens", "wte", "classes"}
    assert _shown(dom(page, "unfold=all")) == everything
    found = dom(page, "search=h.3.mlp")
    assert "model.h.3.mlp.up" in _shown(found), "what is found is unfolded"
    assert ">3 found</p>" in found
    assert ">nothing by that name</p>" in dom(page, "search=nowhere")
    explained = dom(page, "select=tokens&tip=1")
    tip = explained[explained.index('id="tip"') :]
    for text in ("rows are looked up", "free", "1,000", "<dt>orbits</dt>", "<dt>parameters</dt><dd>1</dd>"):
        assert text in tip
    assert "model.wte.weight" in explained[explained.index('id="details"') :]


@pytest.mark.slow
def test_clicks_fold_and_select(tmp_path: Path) -> None:
    page = _page(tmp_path, transformer())
    counts = use(
        page,
        """
        const shown = () => layer.querySelectorAll("[data-space], .card").length, seen = [shown()];
        const card = layer.querySelector(".card");
        click(card); seen.push(shown());
        click(layer.querySelector(`[data-block="${card.dataset.block}"]`)); seen.push(shown());
        press(layer.querySelector(".card"), "Enter"); seen.push(shown());
        click(at("[data-do=fold]")); seen.push(shown());
        click(at("[data-do=unfold]")); seen.push(shown());
        return seen;
    """,
    )
    start, opened, closed, entered, folded, unfolded = counts
    assert opened > start
    assert (closed, entered) == (start, opened)
    assert folded < start
    assert unfolded > opened
    chosen = use(
        page,
        """
        const space = layer.querySelector("[data-space]"), name = graph.spaces[space.dataset.space].name;
        const seen = [details.hidden];
        click(space); seen.push(details.querySelector("h2").textContent === name, space.classList.contains("on"));
        click(picture); seen.push(details.hidden);
        move(space, "pointermove", 300, 200); seen.push(tip.hidden, tip.textContent.includes(name));
        move(picture, "pointerleave", 0, 0); seen.push(tip.hidden);
        return seen;
    """,
    )
    assert chosen == [True, True, True, True, False, True, True]


@pytest.mark.slow
def test_keys_wheel_and_dragging_move_the_picture(tmp_path: Path) -> None:
    page = _page(tmp_path, transformer())
    views = use(
        page,
        """
        const seen = {}, note = (name) => { seen[name] = { ...state.view }; };
        note("start");
        send(picture, "wheel", WheelEvent, { deltaY: -200 }); note("wheel");
        press(picture, "0"); note("whole");
        press(picture, "+"); note("plus");
        press(picture, "-"); note("minus");
        press(picture, "ArrowLeft"); note("left");
        press(picture, "q"); note("other");
        const space = layer.querySelector("[data-space]");
        move(space, "pointerdown", 100, 100); move(window, "pointermove", 130, 90); click(space); note("drag");
        seen.drag.selected = state.selected;
        return seen;
    """,
    )
    assert views["wheel"]["k"] > views["start"]["k"]
    assert views["plus"]["k"] == pytest.approx(1.25 * views["whole"]["k"])
    assert views["minus"]["k"] == pytest.approx(views["whole"]["k"])
    assert views["left"]["x"] == pytest.approx(views["minus"]["x"] + 60)
    assert views["other"] == views["left"]
    assert views["drag"]["x"] == pytest.approx(views["left"]["x"] + 30)
    assert views["drag"]["y"] == pytest.approx(views["left"]["y"] - 10)
    assert views["drag"]["selected"] is None, "a drag that ends on a space does not select it"


@pytest.mark.slow
def test_search_by_keys(tmp_path: Path) -> None:
    seen = use(
        _page(tmp_path, transformer()),
        """
        const seen = [document.activeElement === search];
        press(document.body, "/"); seen.push(document.activeElement === search);
        search.value = "h.3.mlp"; send(search, "input", Event);
        seen.push(hits.hidden, hits.querySelectorAll("button").length);
        press(search, "Enter"); seen.push(details.querySelector("h2").textContent);
        press(search, "Escape"); seen.push(hits.hidden, search.value, details.hidden);
        return seen;
    """,
    )
    assert seen[:4] == [False, True, False, 3]
    assert "h.3.mlp" in seen[4]
    assert seen[5:] == [True, "", True]


@pytest.mark.slow
def test_hostile_names_do_not_run_in_a_browser(tmp_path: Path) -> None:
    page = _page(tmp_path, hostile())
    text = dom(page, "unfold=all&select=a&tip=1")
    assert 'data-ready="yes"' in text
    assert "<title>a model</title>" in text, "the script that the names hold would change it"
    assert "<img" not in text
    naive = tmp_path / "naive.html"
    naive.write_text(f"<title>a model</title><p>{hostile().parameters[0].name}</p>", encoding="utf-8")
    assert "<title>pwned</title>" in dom(naive), "else this test could not fail"


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_picture_is_seen(tmp_path: Path, theme: str) -> None:
    page = _page(tmp_path, transformer())
    screenshot(page, tmp_path / "page.png", f"theme={theme}")
    pixels = np.asarray(Image.open(tmp_path / "page.png").convert("RGB")).astype(int)
    assert pixels.shape == (800, 1200, 3)
    drawn = pixels[60:, :860]
    for name, colour in {
        "set": (0x4C, 0x78, 0xA8) if theme == "light" else (0x5B, 0x8F, 0xC7),
        "nested": (0x72, 0xB7, 0xB2),
        "free": (0xE9, 0xC4, 0x6A),
    }.items():
        assert (np.abs(drawn - colour).sum(axis=2) < 6).sum() > 300, f"no {name} space in sight"
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 50
    assert (drawn.mean() > 128) == (theme == "light")


@pytest.mark.slow
def test_a_page_of_six_hundred_spaces_is_laid_out_in_time(tmp_path: Path) -> None:
    text = dom(_page(tmp_path, transformer(150)), "unfold=all")
    assert len(_shown(text)) == 603
    took = re.search(r'data-ms="(\d+)"', text)
    assert took is not None
    assert int(took[1]) < 2000


def test_small_graphs_have_pages_too() -> None:
    for graph in (mlp_graph([2, 3, 1]), NetworkGraph((), ()), convolutions()):
        assert len(_data(graph_page(graph))["spaces"]) == len(graph.spaces)
