"""What a page says of the agreement of aligned networks."""

from __future__ import annotations

import pytest

from graphws.report.align_page import agreement_in_words


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (-0.039, 0.97, "raises the agreement of the parameters from -0.039 to 0.970."),
        (0.5, 0.25, "lowers the agreement of the parameters from 0.500 to 0.250."),
        (0.1234, 0.1236, "raises the agreement of the parameters from 0.123 to 0.124."),
        (0.1231, 0.1234, "leaves the agreement of the parameters at 0.123."),
    ],
)
def test_an_agreement_that_does_not_rise_is_told(before: float, after: float, said: str) -> None:
    assert agreement_in_words(before, after) == f"Aligning {said}"
