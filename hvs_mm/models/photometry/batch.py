"""The operations of a batch of views, carried out group by group."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ...utils.photometry_operations import OPERATIONS
from ...utils.precision import full_precision
from ...utils.to_device import to_device
from . import colors
from .blur import blur, blur_kernels

_FUNCTIONS = {
    'brightness': colors.change_brightness,
    'contrast': colors.change_contrast,
    'saturation': colors.change_saturation,
    'hue': colors.shift_hue,
    'grayscale': colors.turn_gray,
    'solarize': colors.solarize,
    'blur': lambda images, kernels, luma: blur(images, kernels),
}


def require_kornia() -> None:
    """Raise an ``ImportError`` with the way out if kornia cannot be imported."""
    try:
        import kornia  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f'kornia, which changes the colors of views on the device, cannot be imported '
            f'({error}): run "pip install kornia", or change colors in the loader with '
            "photometry='loader' in CandidateViews and "
            "data_preprocessor.type='SelfSupDataPreprocessor'."
        ) from error


def apply_photometry(views: Sequence[Tensor], operations: np.ndarray) -> list[Tensor]:
    """Change the colors of S views (B, 3, H, W) uint8, BGR, on one device, as recorded.

    The ``operations`` (B, S, K, 4) come from :func:`stack_operations`. The result of an image
    depends only on its pixels and its record. The host never waits for the device.

    Raises:
        ImportError: If kornia is not installed.
        TypeError: If the views are not 8-bit.
        ValueError: If they do not have three channels, or their number differs from the record's.
    """
    require_kornia()
    _check(views, operations)
    sizes = defaultdict(list)
    for number, view in enumerate(views):
        sizes[view.shape[2:]].append(number)
    # Views of the same size are changed together.
    changed: dict[int, Tensor] = {}
    for numbers in sizes.values():
        # (s B, 3, H, W) and (s B, K, 4)
        images = torch.cat([views[number] for number in numbers])
        steps = operations[:, numbers].swapaxes(0, 1).reshape(len(images), -1, 4)
        changed.update(zip(numbers, _apply(images, _plan(steps)).chunk(len(numbers))))
    return [changed[number] for number in range(len(views))]


def _check(views: Sequence[Tensor], operations: np.ndarray) -> None:
    for number, view in enumerate(views):
        if view.dtype != torch.uint8:
            raise TypeError(
                f'view {number} is {view.dtype}, photometry on the device takes 8-bit images '
                '(torch.uint8): leave normalization to data_preprocessor.'
            )
        if view.ndim != 4 or view.shape[1] != 3:
            raise ValueError(
                f'view {number} has the shape {tuple(view.shape)}, photometry on the device takes '
                'batches of images with 3 channels, (B, 3, H, W).'
            )
    expected = (len(views[0]), len(views))
    if operations.shape[:2] != expected:
        raise ValueError(
            f'the data samples have photometry for {operations.shape[:2]} (images, views), the '
            f'batch has {expected}: the pipeline must keep the views that CandidateViews draws.'
        )


def _plan(steps: np.ndarray) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Group the images that need the same operation at a step, step by step, for (N, K, 4).

    Returns:
        Operations with the positions (n,) int64 of their images and their values (n, w) float32.
    """
    groups = []
    for step in steps.swapaxes(0, 1):
        for code, name in enumerate(OPERATIONS, start=1):
            rows = np.flatnonzero(step[:, 0] == code)
            if not len(rows):
                continue
            values = step[rows, 1:] if name == 'grayscale' else step[rows, 1:2]
            if name == 'blur':
                values = blur_kernels(values[:, 0]).astype(np.float32)
            elif name == 'hue':
                # Truncated, as in MMCV.
                values = np.trunc(values * np.float32(255))
            groups.append((name, rows, values))
    return groups


@full_precision
@torch.no_grad()
def _apply(images: Tensor, groups: Sequence[tuple[str, np.ndarray, np.ndarray]]) -> Tensor:
    if not groups:
        return images
    names, rows, values = zip(*groups)
    # One transfer each for all groups, the weights of gray among the values.
    on_device = _send(rows, images.device)
    *settings, luma = _send([*values, np.array(colors.LUMA, np.float32)], images.device)
    images = images.flip(1).float()
    for name, where, what in zip(names, on_device, settings):
        if len(where) == len(images):
            images = _FUNCTIONS[name](images, what, luma)
        else:
            changed = _FUNCTIONS[name](images.index_select(0, where), what, luma)
            images.index_copy_(0, where, changed)
    return images.to(torch.uint8).flip(1)


def _send(arrays: Sequence[np.ndarray], device: torch.device) -> list[Tensor]:
    """Copy arrays of one type to a device, in one transfer."""
    flat = torch.from_numpy(np.concatenate([array.ravel() for array in arrays]))
    parts = to_device(flat, device).split([array.size for array in arrays])
    return [part.view(array.shape) for part, array in zip(parts, arrays)]
