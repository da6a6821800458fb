"""Rows of PyTorch's ATen library, by what they do to axes.  To add one, write its name in the fitting list.

Operations that draw random numbers or write into their inputs are left out: a network file is a function.
"""

from __future__ import annotations

from collections.abc import Iterator

from graphws.kinds.declare import from_aten
from graphws.kinds.kind import Kind


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


POINTWISE = _words("""
    relu leaky_relu relu6 elu celu selu gelu silu mish softplus sigmoid log_sigmoid tanh hardtanh
    hardswish hardsigmoid hardshrink softshrink threshold abs neg exp exp2 expm1 log log2 log10 log1p sqrt rsqrt square
    reciprocal sign sgn ceil floor round trunc frac cos tan sinh cosh asin acos atan asinh acosh atanh erf erfc erfinv
    digamma lgamma i0 sinc logit nan_to_num isnan isinf isfinite logical_not bitwise_not signbit deg2rad rad2deg
""")
"""One function of one number, applied to every entry."""

ENTRYWISE = _words("""
    add sub rsub mul div true_divide floor_divide remainder fmod maximum minimum fmax fmin clamp clamp_min clamp_max
    where lerp _prelu_kernel log_sigmoid_forward addcmul addcdiv eq ne lt le gt ge logical_and logical_or logical_xor
    bitwise_and bitwise_or bitwise_xor
    __and__ __or__ __xor__ __lshift__ __rshift__ bitwise_left_shift bitwise_right_shift atan2 hypot copysign xlogy
    logaddexp logaddexp2 heaviside ldexp angle isposinf isneginf masked_fill polar complex real imag conj
    view_as_real view_as_complex prelu isin bucketize
""")
"""Several tensors, entry by entry."""

POOLING = _words("""
    sum mean prod amax amin all any logsumexp std var std_mean var_mean norm linalg_vector_norm
    nansum nanmean nanmedian dist trace count_nonzero argmax argmin max min aminmax median mode
    avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d adaptive_avg_pool1d adaptive_avg_pool2d
    adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
    max_pool2d_with_indices max_pool3d_with_indices max_pool1d_with_indices
    pairwise_distance cosine_similarity
""")
"""Some axes are summed up; windows of a grid too."""

MIXING = _words("""
    log_softmax cumsum cumprod cummax cummin logcumsumexp sort topk argsort kthvalue diff
    layer_norm group_norm rms_norm instance_norm renorm
    matmul mm bmm mv dot vdot addmm addmv baddbmm outer ger einsum bilinear cdist
    _cdist_forward _euclidean_dist tensordot linalg_inv inverse linalg_norm linalg_solve linalg_qr linalg_cholesky
    conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d
    scaled_dot_product_attention _weight_norm grid_sampler grid_sampler_2d grid_sampler_3d affine_grid_generator
    upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d upsample_trilinear3d
    upsample_bicubic2d _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d
    _upsample_bilinear2d_aa _upsample_bicubic2d_aa
    fft_fft fft_ifft fft_rfft fft_irfft fft_fft2 fft_ifft2 fft_rfft2 fft_irfft2 fft_fftn fft_ifftn fft_hfft stft
    _grouped_mm col2im lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell
    fft_fftshift fft_ifftshift _fft_r2c _fft_c2c _fft_c2r _safe_softmax addbmm addr linalg_cross _trilinear
    _pdist_forward linalg_pinv linalg_inv_ex linalg_cholesky_ex _linalg_det _linalg_slogdet _linalg_solve_ex _linalg_svd
    _linalg_eigh linalg_solve_triangular linalg_matrix_exp max_unpool2d max_unpool3d index_reduce
""")
"""Entries along some axes are made from all entries along them."""

MOVING = _words("""
    reshape permute transpose movedim swapaxes t numpy_T mT adjoint squeeze unsqueeze flatten unflatten expand
    expand_as reshape_as view_as broadcast_to cat stack split split_with_sizes chunk unbind tensor_split unsafe_chunk
    slice select narrow index index_select gather take_along_dim take embedding flip roll rot90 repeat
    repeat_interleave tile unfold as_strided diagonal diag diag_embed tril triu pixel_shuffle
    pixel_unshuffle channel_shuffle native_channel_shuffle scatter scatter_add scatter_reduce index_add index_copy
    index_put index_fill masked_scatter slice_scatter select_scatter diagonal_scatter glu one_hot copy fill
    embedding_bag atleast_1d atleast_2d meshgrid block_diag searchsorted nonzero masked_select unique_consecutive
    im2col
""")
"""The same entries, elsewhere."""

PADDING = _words("""
    pad constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d
    replication_pad3d
""")
"""The same entries in the same places, with others around them."""

MAKING = _words("""
    zeros ones full arange linspace eye zeros_like ones_like full_like new_zeros new_ones new_full scalar_tensor
    tril_indices triu_indices hann_window hamming_window
""")
"""Tensors of sizes and constants alone."""

RENAMED = {
    "power": ("pow", "keeps", True),
}
"""Rows whose name in graphs is not ATen's: name, what it does to axes, whether it is pointwise."""

SAME = {
    "zeros": ("empty",),
    "zeros_like": ("empty_like",),
    "new_zeros": ("new_empty",),
    "reshape": ("view", "_unsafe_view", "view_copy", "_reshape_alias", "_reshape_copy"),
    "conj": ("_conj", "_conj_physical", "conj_physical"),
    "adaptive_avg_pool2d": ("_adaptive_avg_pool2d",),
    "adaptive_avg_pool3d": ("_adaptive_avg_pool3d",),
    "diagonal": ("diagonal_copy",),
    "unfold": ("unfold_copy",),
    "narrow": ("narrow_copy",),
    "t": ("t_copy",),
    "squeeze": ("squeeze_copy",),
    "expand": ("expand_copy",),
    "permute": ("permute_copy",),
    "transpose": ("swapdims", "transpose_copy"),
    "movedim": ("moveaxis",),
    "unsqueeze": ("unsqueeze_copy",),
    "select": ("select_copy",),
    "slice": ("slice_copy",),
    "split": ("split_copy", "unsafe_split"),
    "split_with_sizes": ("split_with_sizes_copy", "unsafe_split_with_sizes"),
    "unbind": ("unbind_copy",),
    "cat": ("concat", "concatenate"),
    "index": ("_unsafe_index",),
    "index_put": ("_unsafe_index_put",),
    "mul": ("multiply",),
    "sub": ("subtract",),
    "div": ("divide",),
    "neg": ("negative",),
    "clamp": ("clip",),
    "asin": ("arcsin",),
    "atan": ("arctan",),
    "logsumexp": ("special_logsumexp",),
    "erf": ("special_erf",),
    "sigmoid": ("special_expit",),
    "rms_norm": ("_fused_rms_norm",),
}
"""Other names of the same function, with the same arguments; what PyTorch leaves unwritten is zero."""

WEIGHTS = {
    "linear": ("weight", 0),
    **{f"conv{n}d": ("weight", 0) for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": ("weight", 1) for n in (1, 2, 3)},
    "embedding": ("weight", 1),
}
"""Rows that multiply by a weight: which operand it is, and which of its axes says what is written."""

_LISTS: dict[str, dict[str, int]] = {"lstm_cell": {"hx": 2}}

GROUPS = {
    "keeps": (*POINTWISE, *ENTRYWISE),
    "pools": POOLING,
    "mixes": MIXING,
    "moves": MOVING,
    "pads": PADDING,
    "makes": MAKING,
}


def row(name: str) -> Kind | None:
    """The row of that name; None where ATen's part of the table has none."""
    if name in RENAMED:
        aten, axes, pointwise = RENAMED[name]
        return from_aten(aten, axes, called=name, pointwise=pointwise)  # type: ignore[arg-type]
    for axes, names in GROUPS.items():
        if name in names:
            same, lists = SAME.get(name, ()), _LISTS.get(name)
            return from_aten(name, axes, pointwise=name in POINTWISE, spellings=same, lists=lists)  # type: ignore[arg-type]
    return None


def names() -> Iterator[str]:
    """Every name of ATen's part of the table."""
    yield from RENAMED
    for group in GROUPS.values():
        yield from group


def spellings() -> dict[str, str]:
    """For each other name of a row the row's own."""
    found = {other: name for name, others in SAME.items() for other in others}
    return found | {aten: name for name, (aten, _, _) in RENAMED.items()}
