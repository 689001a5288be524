"""torchvision's NMS and RoIAlign in place of MMCV's compiled operators, for MMDetection.

MMCV looks for its operators in a compiled extension, ``mmcv._ext``, which pip does not install
(onedl-mmcv 2.3.6). Faster and Mask R-CNN call two of them, ``nms`` and ``roi_align``. torchvision
has both, and :func:`provide_operators` makes them that extension, with the signatures that
``mmcv/ops/nms.py`` and ``mmcv/ops/roi_align.py`` call.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any, NoReturn

import torch
import torchvision
from torch import Tensor

_EXTENSION = 'mmcv._ext'


def provide_operators() -> None:
    """Let ``mmcv.ops`` run on torchvision, if MMDetection is installed and MMCV has no operators.

    It does nothing if MMDetection is there already, whose modules have then replaced operators by
    functions that always fail (onedl-mmdetection 3.5.1). MMPretrain's models import it, too. A
    compiled extension is left alone.
    """
    # mmcv-lite has no mmcv.ops, for which MMEngine looks where there is an extension.
    needed = find_spec('mmdet') and find_spec('mmcv.ops') and not find_spec(_EXTENSION)
    if needed and 'mmdet.structures' not in sys.modules:
        sys.modules[_EXTENSION] = _Extension(_EXTENSION)


def check_operators() -> None:
    """Raise a ``RuntimeError`` if :func:`provide_operators` came too late for MMDetection."""
    if find_spec('mmdet') and find_spec('mmcv.ops') and not find_spec(_EXTENSION):
        # No ImportError: MMEngine drops the text of one that custom_imports meets.
        raise RuntimeError(
            'MMDetection was imported before hvs_mm and has no operators: import hvs_mm first, and '
            'start "mim train hvs-mm" instead of "mim train onedl-mmdetection".'
        )


def nms(bboxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices of the boxes that non-maximum suppression keeps, best first.

    Args:
        bboxes: (N, 4), left, top, right and bottom in pixels.
        scores: (N,).
        iou_threshold: A box is dropped if its IoU with a better one is larger.
        offset: Pixels to add to width and height: 1 if the last pixel belongs to a box, else 0.

    Returns:
        (K,), int64.
    """
    if offset:
        bboxes = bboxes + bboxes.new_tensor([0, 0, offset, offset])
    # As in MMCV: torchvision compares float32 IoUs with a float64 threshold, and its own sort is
    # stable, which matters where scores are equal.
    threshold = torch.tensor(iou_threshold, dtype=torch.float32).item()
    scores, order = scores.sort(descending=True)
    return order[torchvision.ops.nms(bboxes[order], scores, threshold)]


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the features of regions to ``output``.

    Args:
        input: (B, C, H, W).
        rois: (N, 5), the index of an image, then left, top, right and bottom in its pixels.
        output: (N, C, aligned_height, aligned_width), written to.
        argmax_y, argmax_x: Where the maxima were, for ``pool_mode`` 0; not used.
        spatial_scale: Width of ``input`` divided by that of the image.
        sampling_ratio: Samples for an output in each direction; 0 for about one a pixel.
        pool_mode: 1 for the mean of the samples, 0 for their maximum.
        aligned: Whether pixels have their centers at 0.5, not at 0.

    Raises:
        ImportError: If the maximum is asked for.
    """
    if pool_mode == 0:
        _raise_missing("roi_align with pool_mode='max'")
    size = (aligned_height, aligned_width)
    output.copy_(
        torchvision.ops.roi_align(input, rois, size, spatial_scale, sampling_ratio, aligned)
    )


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the gradient at the features, (B, C, H, W), to ``grad_input``.

    ``grad_output`` is the gradient at the output; for the rest see :func:`roi_align_forward`.
    """
    size = (aligned_height, aligned_width)
    # RoIAlign is linear in the features: its gradient is the same for any of them.
    features = torch.zeros_like(grad_input, requires_grad=True)
    with torch.enable_grad():
        output = torchvision.ops.roi_align(
            features, rois, size, spatial_scale, sampling_ratio, aligned
        )
    grad_input.copy_(torch.autograd.grad(output, features, grad_output)[0])


class _Extension(ModuleType):
    """What MMCV imports as its extension."""

    nms = staticmethod(nms)
    roi_align_forward = staticmethod(roi_align_forward)
    roi_align_backward = staticmethod(roi_align_backward)

    def __init__(self, name: str) -> None:
        super().__init__(name)
        # find_spec, with which MMEngine looks for the extension, raises where this is None.
        self.__spec__ = ModuleSpec(name, loader=None)

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        # MMCV looks all of its operators up on being imported: the others raise on being called.
        if name.startswith('__'):
            raise AttributeError(f'module {self.__name__!r} has no attribute {name!r}')

        def missing(*args: Any, **kwargs: Any) -> NoReturn:
            _raise_missing(name)

        return missing


def _raise_missing(operator: str) -> NoReturn:
    raise ImportError(
        f'{operator} is no operator of torchvision: it needs MMCV compiled with operators, see '
        'docs/detection.md.'
    )
