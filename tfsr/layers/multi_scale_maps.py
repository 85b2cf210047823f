"""The multi-scale convolutions of the MS3-Conv paper, by name.

Each function builds the layer that replaces a convolution of `filters` channels; with
two levels or more, each level has half of them. The docstrings give the matrix of
equation (1), whose rows are output levels, the finest first. W is a convolution of
`kernel_size`, W^1 one of size 1; down averages and up repeats pixels unless marked.

Feng, Guan, Qiao and Dong, "Exploring Multi-Scale Feature Propagation and Communication
for Image Super Resolution", ECCV 2020, https://arxiv.org/abs/2008.00239
"""

import functools
import inspect
from collections.abc import Callable

from tfsr.layers.branched_conv import BranchedConv2D
from tfsr.layers.multi_scale_conv import MAX_LEVELS, MultiScaleConv2D


def standard(filters: int, kernel_size: int = 3, **kwargs) -> MultiScaleConv2D:
    """Returns an ordinary convolution: [W]."""
    return MultiScaleConv2D((filters,), kernel_size, **kwargs)


def ms(
    filters: int, kernel_size: int = 3, levels: int = 2, **kwargs
) -> MultiScaleConv2D:
    """Returns a convolution for each level: [[W_HH, 0], [0, W_LL]]."""
    return MultiScaleConv2D(
        _halves(filters, levels), kernel_size, paths="none", **kwargs
    )


def ms2(
    filters: int, kernel_size: int = 3, levels: int = 2, **kwargs
) -> MultiScaleConv2D:
    """Returns MS2-Conv: [[W_HH, up W_LH], [W_HL down, W_LL]]."""
    return MultiScaleConv2D(_halves(filters, levels), kernel_size, **kwargs)


def ms2_without_lh(
    filters: int, kernel_size: int = 3, levels: int = 2, **kwargs
) -> MultiScaleConv2D:
    """Returns MS2-Conv without low to high: [[W_HH, 0], [W_HL down, W_LL]]."""
    return MultiScaleConv2D(
        _halves(filters, levels), kernel_size, paths="high_to_low", **kwargs
    )


def ms2_without_hl(
    filters: int, kernel_size: int = 3, levels: int = 2, **kwargs
) -> MultiScaleConv2D:
    """Returns MS2-Conv without high to low: [[W_HH, up W_LH], [0, W_LL]]."""
    return MultiScaleConv2D(
        _halves(filters, levels), kernel_size, paths="low_to_high", **kwargs
    )


def ms3(
    filters: int, kernel_size: int = 3, levels: int = 2, **kwargs
) -> MultiScaleConv2D:
    """Returns MS3-Conv, (5): [[W_IS, up W^1_LH], [W^1_HL down, W_IS]].

    All levels share W_IS.
    """
    return MultiScaleConv2D(
        _halves(filters, levels),
        kernel_size,
        intra="shared",
        path_kernel_size=1,
        **kwargs,
    )


def ms3_l(
    filters: int, kernel_size: int = 3, levels: int = 2, **kwargs
) -> MultiScaleConv2D:
    """Returns MS3-Conv with W between levels: [[W_IS, up W_LH], [W_HL down, W_IS]]."""
    return MultiScaleConv2D(
        _halves(filters, levels), kernel_size, intra="shared", **kwargs
    )


def octave(
    filters: int, kernel_size: int = 3, ratio: float = 0.5, **kwargs
) -> MultiScaleConv2D:
    """Returns octave convolution, (3): [[W_HH, up W_LH], [W_HL down, W_LL]].

    The low level has the share `ratio` of the channels.
    """
    low = round(filters * ratio)
    if not 0 < low < filters:
        raise ValueError(
            "`ratio` must leave channels to both levels. "
            f"Received: ratio={ratio}, filters={filters}."
        )
    return MultiScaleConv2D((filters - low, low), kernel_size, **kwargs)


def multigrid(
    filters: int, kernel_size: int = 3, levels: int = 3, **kwargs
) -> MultiScaleConv2D:
    """Returns multigrid convolution, (4), with max pooling and upsampling before W.

    [[W_HH, W_MH up, 0], [W_HM max, W_MM, W_LM up], [0, W_ML max, W_LL]].
    """
    return MultiScaleConv2D(
        _halves(filters, levels),
        kernel_size,
        paths="neighbours",
        down="max",
        up_first=True,
        **kwargs,
    )


def unet(
    filters: int, kernel_size: int = 3, levels: int = 2, **kwargs
) -> MultiScaleConv2D:
    """Returns U-Net's convolution, (2): [[I, 0], [0, W_LL]].

    With more levels, only the finest has I.
    """
    return MultiScaleConv2D(
        _halves(filters, levels),
        kernel_size,
        intra=("identity", *["own"] * (levels - 1)),
        paths="none",
        **kwargs,
    )


def branched(
    function: str, filters: int, kernel_size: int = 3, **kwargs
) -> BranchedConv2D:
    """Returns [[W_HH, W_LH], [W_HL, F]] at one resolution, F a function of Table 1."""
    return BranchedConv2D(_halves(filters, 2), kernel_size, function, **kwargs)


CONVS: dict[str, Callable] = {
    "standard": standard,
    "ms": ms,
    "ms2": ms2,
    "ms2_without_lh": ms2_without_lh,
    "ms2_without_hl": ms2_without_hl,
    "ms3": ms3,
    "ms3_l": ms3_l,
    "octave": octave,
    "multigrid": multigrid,
    "unet": unet,
    "w_d1": functools.partial(branched, "w_d1"),
    "w_d2": functools.partial(branched, "w_d2"),
    "w_d2_shared": functools.partial(branched, "w_d2_shared"),
    "w_d2_d2u2": functools.partial(branched, "w_d2_d2u2"),
    "pool_w_d2_d2u2": functools.partial(branched, "pool_w_d2_d2u2"),
}


def multi_scale(conv: str, levels: int | None = None) -> Callable:
    """Returns the function `CONVS[conv]` with its number of levels set.

    Args:
        conv: A key of `CONVS`.
        levels: Number of levels; `None` for as many as the equation has.

    Raises:
        ValueError: If there is no such convolution, or if it has a fixed number of
            levels and one is given.
    """
    if conv not in CONVS:
        raise ValueError(
            f"`conv` must be one of {', '.join(CONVS)}. Received: conv={conv}."
        )
    if levels is None:
        return CONVS[conv]
    if "levels" not in inspect.signature(CONVS[conv]).parameters:
        raise ValueError(
            f"`levels` must be left out for {conv}. Received: levels={levels}."
        )
    if type(levels) is not int or not 1 <= levels <= MAX_LEVELS:
        raise ValueError(
            f"`levels` must be 1 to {MAX_LEVELS}. Received: levels={levels}."
        )
    return functools.partial(CONVS[conv], levels=levels)


def _halves(filters, levels):
    """Returns the channels of each level."""
    if levels > 1 and filters % 2:
        raise ValueError(f"`filters` must be even. Received: filters={filters}.")
    return (filters,) if levels == 1 else (filters // 2,) * levels
