"""DINOv2: iBOT with heads of their own for image and patches, Sinkhorn-Knopp and KoLeo."""

from __future__ import annotations

from typing import ClassVar

from mmpretrain.registry import MODELS

from ..backbones.dinov2_vit import DINOv2VisionTransformer
from ..heads.dinov2_head import DINOv2Head
from ..necks.dinov2_neck import DINOv2Neck
from .ibot import IBOT


@MODELS.register_module()
class DINOv2(IBOT):
    """DINOv2 (`arXiv 2304.07193 <https://arxiv.org/abs/2304.07193>`_).

    A student sees all crops of an image, the global ones with masked patches, a teacher the whole
    global ones. :class:`hvs_mm.models.DINOv2Head` says what the student learns,
    :class:`hvs_mm.datasets.BlockMasks` draws the masks, :class:`hvs_mm.engine.TeacherHook` updates
    the teacher after every optimizer step.

    Args:
        **kwargs: As for :class:`DINO`; backbone, neck and head have the types of ``part_types``.

    Raises:
        ValueError: As for :class:`IBOT`.
    """

    part_types: ClassVar[dict[str, type]] = {
        'backbone': DINOv2VisionTransformer,
        'neck': DINOv2Neck,
        'head': DINOv2Head,
    }
