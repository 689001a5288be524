"""Refuse weights of a training that has diverged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor


def check_finite_weights(
    weights: Mapping[str, Any], source: str | Path, own: Mapping[str, Tensor] | None = None
) -> None:
    """Check that weights of a file hold neither NaN nor infinite numbers.

    Args:
        weights: Tensors of any shapes by name; other values are ignored.
        source: The file, for the message.
        own: Tensors of the module that they are for. Those that are not finite there are constants
            such as a mask of ``-inf``, and may be so in the file.

    Raises:
        ValueError: If others are not finite.
    """
    bad = [name for name, value in weights.items() if not _is_finite(value)]
    bad = [name for name in bad if own is None or name not in own or _is_finite(own[name])]
    if bad:
        raise ValueError(
            f'{source}: {len(bad)} of {len(weights)} tensors hold NaN or infinite numbers, e.g. '
            f'{bad[0]}: the training that wrote them has diverged. Name an earlier checkpoint, or '
            'train again with a lower learning rate.'
        )


def _is_finite(value: Any) -> bool:
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return True
    return bool(value.isfinite().all())
