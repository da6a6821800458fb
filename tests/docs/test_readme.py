"""What the README shows works as it is written."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

from graphws.spec import parse_spec

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_tour_runs_and_verifies() -> None:
    (tour,) = blocks("python")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(tour, "README.md", "exec"), {})
    assert out.getvalue().count("VERIFIED") == 2
    assert "torch.Size([8, 10])" in out.getvalue()


def test_the_spec_is_valid() -> None:
    (text,) = blocks("yaml")
    assert parse_spec(text, "README.md").model.layers == 4


def test_links_lead_somewhere() -> None:
    targets = [t for t in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in t]
    assert len(targets) >= 8
    assert not [t for t in targets if not (Path(__file__).parents[2] / t).exists()]
