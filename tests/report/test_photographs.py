"""Every kind of page, photographed at the widths of a phone and a desk, in both themes: all fits and is legible."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from graphws.actions import find_actions
from graphws.align import compare, merge_many
from graphws.checkpoints.conversion import Conversion
from graphws.graph import Weights
from graphws.operations import mlp_graph
from graphws.operations.verify import Verification
from graphws.report.actions_page import actions_page
from graphws.report.align_page import comparison_page, merging_page
from graphws.report.graph.page import graph_page
from tests.actions.planting import pictures
from tests.align.cases import network
from tests.cli.runs import run
from tests.cli.specs import EXPERIMENT, QUICK, edited
from tests.report.graph_samples import convolutions, transformer
from tests.report.photographs import Photographer, View, faults

pytestmark = pytest.mark.slow

VIEWS = [View(*size, theme) for size, theme in itertools.product(((390, 844), (1200, 800)), ("light", "dark"))]
NAMES = ("run", "experiment", "sweep", "results", "actions", "align", "merge", "graph", "small-graph")
LONG = "a_model_of_a_name_that_is_longer_than_any_that_people_choose"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Photographer]:
    with Photographer(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One page of each kind, as the commands and the library make them."""
    place = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        whole = QUICK.replace("{name: mlp,", f"{{name: {LONG},")
        edited(whole, place / "quick.yaml")
        edited(EXPERIMENT, place / "tiny.yaml", **{"name: tiny": f"name: tiny\ntitle: {LONG}?"})
        key = "sweep: {key: train.epochs, values: [1, 2]}\n"
        edited(whole + key, place / "swept.yaml", **{"name: quick": "name: swept"})
        for name in ("quick", "tiny", "swept"):
            result = run("run", f"{name}.yaml")
            assert result.exit_code == 0, result.output
        assert run("results", "runs/quick", "runs/tiny", "runs/swept", "--html", "results.html").exit_code == 0
    made = {
        "run": place / "runs/quick/report.html",
        "experiment": place / "runs/tiny/report.html",
        "sweep": place / "runs/swept/report.html",
        "results": place / "results.html",
    }
    for name, text in (_analyses() | _graphs()).items():
        made[name] = place / f"{name}.html"
        made[name].write_text(text, encoding="utf-8")
    return made


def _analyses() -> dict[str, str]:
    ran = {"command": f"graphws actions {LONG}.safetensors", "torch": "2"}
    case = pictures(mlp_graph([16, 8, 8, 16], "tanh"), "mirror", (1, 4, 4))
    weights = case.planted.weights
    noise = torch.Generator().manual_seed(0)
    spoilt = {name: weights[name] for name in weights}
    spoilt["W2"] = torch.randn(spoilt["W2"].shape, generator=noise, dtype=spoilt["W2"].dtype)
    broken = Weights(weights.graph, spoilt)
    found = find_actions(broken, "mirror", (1, 4, 4), data=case.probes(40), decoys=2)
    graph = mlp_graph([6, 8, 3], "relu")
    first, second = network(graph), network(graph, 5)
    x = torch.randn(30, 6, generator=noise, dtype=torch.float64)
    labels = torch.arange(30) % 3
    merged = merge_many(Weights.cat([first, second, network(graph, 6)]), inputs=x, labels=labels, generator=noise)
    return {
        "actions": actions_page(found, (1, 4, 4), f"{LONG}.safetensors", ran=ran),
        "align": comparison_page(compare(first, second, inputs=x, labels=labels), LONG, "b", ran),
        "merge": merging_page(merged, ["a", LONG, "c"], ran),
    }


def _graphs() -> dict[str, str]:
    proof = Verification(2.5e-15, 0.31, 3, "rich")
    return {
        "graph": graph_page(Conversion(transformer(12), verification=proof, notes=(LONG,)), LONG),
        "small-graph": graph_page(Conversion(convolutions(), reason=LONG), "net"),
    }


@pytest.mark.parametrize("name", NAMES)
def test_pages_fit_and_are_legible(name: str, pages: dict[str, Path], browser: Photographer, tmp_path: Path) -> None:
    for view in VIEWS:
        assert faults(browser, pages[name], view, tmp_path / "page.png") == [], view


def test_figures_follow_the_theme(pages: dict[str, Path], browser: Photographer, tmp_path: Path) -> None:
    """The ground of a figure is the page's, and lines and texts stand out from it."""
    for theme in ("light", "dark"):
        browser.open(pages["run"], View(1200, 800, theme))
        box = browser.ask(
            "(({x, y, width, height}) => [x, y, width, height])(document.images[0].getBoundingClientRect())"
        )
        browser.photograph(tmp_path / "page.png")
        x, y, width, height = map(int, box)
        with Image.open(tmp_path / "page.png") as picture:
            seen = np.asarray(picture.convert("L"))[y : y + height, x : x + width].astype(int)
        ground = int(np.bincount(seen.ravel()).argmax())
        assert ground == (255 if theme == "light" else 19)
        assert 0.005 < (np.abs(seen - ground) > 140).mean() < 0.5


@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_the_first_view_of_a_large_graph_is_all_of_it(
    pages: dict[str, Path], browser: Photographer, view: View
) -> None:
    browser.open(pages["graph"], view)
    inside, scale = browser.ask(
        "(() => { const f = picture.getBoundingClientRect(), b = layer.getBoundingClientRect();"
        "return [b.left >= f.left && b.right <= f.right && b.top >= f.top && b.bottom <= f.bottom, state.view.k]; })()"
    )
    assert inside
    folded = browser.ask("layer.querySelectorAll('.frame').length === 0")
    assert scale >= 0.62 or (folded and scale >= 0.5), "letters stay legible"
    assert browser.ask("[...layer.querySelectorAll('.card')].length") >= 1, "what does not fit is folded"
    assert browser.ask("document.title") == LONG
    browser.open(pages["graph"], view, "unfold=all")
    assert not browser.ask("layer.getBoundingClientRect().right <= picture.getBoundingClientRect().right")


GOOD = '<!doctype html><meta name="viewport" content="width=device-width"><style>BODY</style><p>some text</p>'
BOTH = ":root{color-scheme:light dark} body{background:Canvas}"
PHONE, DESK = View(390, 844, "dark"), View(1200, 800, "light")


@pytest.mark.parametrize(
    ("style", "body", "view", "fault"),
    [
        ("", "<table><tr><td><div style='width:1500px'>wide</table>", DESK, "pixels wide in a window of 1200"),
        ("", "<table><tr><td><div style='width:700px'>wide</table>", PHONE, "laid out for 714 pixels, not 390"),
        ("", "<div style='position:fixed;left:380px'>at the edge", PHONE, "sticks out: at the edge"),
        ("", "<p style='width:50px;overflow:hidden;white-space:nowrap'>hidden in part", DESK, "cut off: hidden"),
        ("", "<span style='color:#999'>pale</span>", DESK, "contrast 2.8: pale"),
        ("", "<img alt='a figure' src='data:image/png;base64,'>", DESK, "no picture: a figure"),
        ("", "<img alt='small' style='--width:900px;width:200px' src='data:image/svg+xml,<svg xmlns=\"http://www.w3.org"
         "/2000/svg\" width=\"9\" height=\"9\"/>'>", DESK, "too small to read: small"),
        ("", "<svg width=50 height=50><text x=30 y=20>letters</text></svg>", DESK, "outside the picture: letters"),
        ("body{background:#fff;color:#000}", "", PHONE, "a brightness of 25"),
        (None, "", PHONE, "laid out for 980 pixels, not 390"),
    ],
)  # fmt: skip
def test_what_is_looked_for_is_found(
    style: str | None, body: str, view: View, fault: str, browser: Photographer, tmp_path: Path
) -> None:
    good = GOOD.replace("BODY", BOTH)
    text = good.replace('<meta name="viewport" content="width=device-width">', "") if style is None else good
    text = text.replace("</style>", f"{style or ''}</style>") + body
    for name, content in (("good", good), ("bad", text)):
        (tmp_path / f"{name}.html").write_text(content, encoding="utf-8")
    assert faults(browser, tmp_path / "good.html", view, tmp_path / "good.png") == []
    assert fault in " ".join(faults(browser, tmp_path / "bad.html", view, tmp_path / "bad.png"))
