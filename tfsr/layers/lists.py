"""A check for layers that take a list of tensors."""

from typing import Any


def check_list(input_shape: Any) -> None:
    """Raises a `ValueError` unless a layer is built for a list of tensors."""
    if not all(isinstance(shape, tuple | list) for shape in input_shape):
        raise ValueError(
            "`inputs` must be a list of tensors, [x] of a single one. "
            f"Received: a tensor, input_shape={input_shape}."
        )
