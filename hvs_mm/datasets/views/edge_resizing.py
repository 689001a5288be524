"""Resize the edge of images of any number of channels, for evaluation."""

from __future__ import annotations

from mmpretrain.datasets.transforms import ResizeEdge
from mmpretrain.registry import TRANSFORMS

from ...utils.arguments import check_choice
from .pixels.channels import resize_channels
from .pixels.resizing import INTERPOLATIONS
from .view_transform import Results


@TRANSFORMS.register_module()
class ResizeEdgeOfChannels(ResizeEdge):
    """``ResizeEdge`` with the antialiasing of Pillow for images of any channels and bits.

    **Required Keys:** ``img``, float32 (H, W, C), as :class:`LoadChannels` loads it.

    Args:
        scale, edge: As for ``ResizeEdge``.
        interpolation: ``'bilinear'`` or ``'bicubic'``.

    Raises:
        ValueError: If ``interpolation`` is neither.
    """

    def __init__(self, scale: int, edge: str = 'short', interpolation: str = 'bicubic') -> None:
        super().__init__(scale, edge)
        self.interpolation = check_choice('interpolation', interpolation, INTERPOLATIONS)

    def _resize_img(self, results: Results) -> None:
        width, height = results['scale']
        old = results['img'].shape
        results['img'] = resize_channels(results['img'], (height, width), self.interpolation)
        results['img_shape'] = (height, width)
        results['scale_factor'] = (width / old[1], height / old[0])
