"""Complex numbers and Fourier transforms: linear over real numbers, so real scales pass.

A complex tensor is one tensor: its real and imaginary parts lie at the same places, and ``view_as_real`` shows them
along a last axis, which has an order.  Frequencies have an order, as pixels have; every other axis passes a transform.
"""

from __future__ import annotations

from graphws_converters.algebra.dims import Dim
from graphws_converters.algebra.tensors import Leg
from graphws_converters.analysis.engine import Engine
from graphws_converters.rules.registry import Call, Result, rule

_PARTS = "real and imaginary part"
_OVER_ONE = ("fft_fft", "fft_ifft", "fft_rfft", "fft_irfft", "fft_hfft", "fft_ihfft")
_OVER_TWO = ("fft_fft2", "fft_ifft2", "fft_rfft2", "fft_irfft2", "fft_hfft2", "fft_ihfft2")
_OVER_SOME = ("fft_fftn", "fft_ifftn", "fft_rfftn", "fft_irfftn", "fft_hfftn", "fft_ihfftn", "fft_fftshift",
              "fft_ifftshift", "_fft_r2c", "_fft_c2c", "_fft_c2r")  # fmt: skip


@rule(*_OVER_ONE, *_OVER_TWO, *_OVER_SOME, powers=True)
def fourier(e: Engine, call: Call) -> Result:
    """Frequencies along the given axes; along the last ones, or all, where none are given."""
    x = e.plain(call["self"])
    axes, sizes = call.get("dim"), call.get("s")
    if axes is None:
        axes = range(-len(sizes), 0) if isinstance(sizes, list | tuple) else range(len(x.legs))
    return e.ordered(x, [axes] if isinstance(axes, int) else list(axes), call.shape, "frequencies")


@rule("view_as_real", "view_as_real_copy", powers=True)
def as_real(e: Engine, call: Call) -> Result:
    """The two parts along a new last axis."""
    x = e.plain(call["self"])
    return e.tensor([*x.legs, Leg(Dim(2, _PARTS))])


@rule("view_as_complex", "view_as_complex_copy", powers=True)
def as_complex(e: Engine, call: Call) -> Result:
    """The last axis holds the two parts."""
    x = e.plain(call["self"])
    e.release(x.legs[-1:], _PARTS)
    made = e.tensor(x.legs[:-1])
    made.weight = x.weight
    return made


@rule("complex", powers=True)
def of_parts(e: Engine, call: Call) -> Result:
    """Two tensors side by side: both are scaled alike."""
    return e.pointwise([call["real"], call["imag"]], "add", "a complex number")


@rule("imag", "conj_physical", "_neg_view", "_neg_view_copy", "_conj_copy", "resolve_conj_copy", powers=True)
def part(e: Engine, call: Call) -> Result:
    """Linear over real numbers."""
    return e.tensor(e.plain(call["self"]).legs)


@rule("polar")
def polar(e: Engine, call: Call) -> Result:
    """Length and angle."""
    return e.pointwise([call["abs"], call["angle"]], why="polar")
