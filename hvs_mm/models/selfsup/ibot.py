"""iBOT: self-distillation with masked image modeling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmpretrain.registry import MODELS
from torch import Tensor

from ...selection import forward_views
from ..backbones import MaskedVisionTransformer
from ..checks import ViewsError
from ..heads import IBOTHead
from ..heads.ibot_head import IBOTOutputs
from ..necks import IBOTNeck
from .dino import DINO, check_prototypes, global_views


@MODELS.register_module()
class IBOT(DINO):
    """iBOT (`arXiv 2111.07832 <https://arxiv.org/abs/2111.07832>`_).

    DINO on the [CLS] token, and on the patches of the global crops that are masked for the student
    and visible to the teacher. :class:`hvs_mm.datasets.BlockMasks` draws the masks,
    :class:`hvs_mm.engine.TeacherHook` updates the teacher after every optimizer step.

    Args:
        backbone: Config of a :class:`hvs_mm.models.MaskedVisionTransformer`.
        neck: Config of a :class:`hvs_mm.models.IBOTNeck`.
        head: Config of a :class:`hvs_mm.models.IBOTHead`.
        **kwargs: As for :class:`DINO`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        neck = self.neck
        last_layer = neck.last_layer if neck.shared_head else neck.last_layer2
        check_prototypes('patch_out_channels', last_layer, self.head.patch_center)

    def _check_parts(self) -> None:
        # The one that takes masks.
        self._check_part('backbone', MaskedVisionTransformer)
        self._check_part('neck', IBOTNeck)
        self._check_part('head', IBOTHead)

    def masks_of(self, data_samples: Sequence[Any] | None, views: Sequence[Tensor]) -> Tensor:
        """The masks of the global views.

        Args:
            data_samples: B samples with ``view_masks`` (T, h, w); T may be larger here.
            views: T global views (B, 3, H, W).

        Returns:
            (B, T, h, w) bool on the device of the views; nothing is masked before the epoch
            ``head.mask_start_epoch``.

        Raises:
            ViewsError: If the samples hold no masks, or masks of another shape.
        """
        patch = self.backbone.patch_embed.projection.kernel_size
        grid = tuple(size // p for size, p in zip(views[0].shape[2:], patch))
        shape = (len(views[0]), len(views), *grid)
        if not self.head.masks_are_on():
            return torch.zeros(shape, dtype=torch.bool, device=views[0].device)
        masks = [getattr(sample, 'view_masks', None) for sample in data_samples or [None]]
        if any(mask is None for mask in masks):
            raise ViewsError(
                'IBOT found no view_masks in the data samples: put '
                "dict(type='BlockMasks') between CandidateViews (or MultiView) and PackViews in "
                'the pipeline of train_dataloader.dataset.'
            )
        shapes = {mask[: len(views)].shape for mask in masks}
        if shapes != {shape[1:]} or len(masks) != shape[0]:
            raise ViewsError(
                f'view_masks of {len(masks)} samples have shapes {sorted(shapes)}, the views need '
                f'{shape[1:]} for {shape[0]} samples: give BlockMasks patch_size={patch[0]}, and '
                'put it behind the transform that draws the views.'
            )
        stacked = torch.from_numpy(np.stack([mask[: len(views)] for mask in masks]))
        return stacked.to(views[0].device, non_blocking=True)

    def teacher_tokens(self, views: Sequence[Tensor]) -> Tensor:
        """Tokens (B, T, 1 + N, C) of T views (B, 3, H, W), without masks or gradient."""
        with torch.no_grad():
            return forward_views(lambda x: self.teacher['backbone'](x)[-1], views)

    def outputs(
        self,
        views: Sequence[Tensor],
        num_targets: int,
        masks: Tensor,
        teacher_tokens: Tensor | None = None,
    ) -> IBOTOutputs:
        """Forward student and teacher.

        Args:
            views: S views (B, 3, H, W), the T global ones first.
            num_targets: T.
            masks: (B, T, h, w) bool.
            teacher_tokens: (B, T, 1 + N, C) if they are known already.

        Returns:
            What the head forms the loss from.
        """
        if teacher_tokens is None:
            teacher_tokens = self.teacher_tokens(views[:num_targets])
        # (B, T, h, w) -> (T * B, h, w), in the order in which forward_views joins the views
        joined = masks.transpose(0, 1).flatten(0, 1)
        # (B, T, 1 + N, C)
        tokens = forward_views(lambda x: self.backbone(x, joined)[-1], views[:num_targets])
        cls = tokens[:, :, 0]
        if len(views) > num_targets:
            local = forward_views(lambda x: self.backbone(x)[-1][:, 0], views[num_targets:])
            cls = torch.cat([cls, local], dim=1)
        # (B, T, N) -> (M,) rows b * T + t and (M,) patches
        rows, patches = masks.flatten(2).flatten(0, 1).nonzero(as_tuple=True)
        with torch.no_grad():
            neck = self.teacher['neck']
            teacher = neck.logits(teacher_tokens[:, :, 0].flatten(0, 1))
            hidden = teacher_tokens.flatten(0, 1)[rows, 1 + patches]
            teacher_patches = neck.patch_logits(hidden)
        student = self.neck.logits(cls.flatten(0, 1))
        return IBOTOutputs(
            student=student.unflatten(0, cls.shape[:2]),
            teacher=teacher.unflatten(0, teacher_tokens.shape[:2]),
            student_patches=self.neck.patch_logits(tokens.flatten(0, 1)[rows, 1 + patches]),
            teacher_patches=teacher_patches,
            rows=rows,
            teacher_tokens=teacher_tokens,
        )

    def loss(
        self,
        inputs: Sequence[Tensor],
        data_samples: Sequence[Any] | None = None,
        masks: Tensor | None = None,
        teacher_tokens: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Loss of a batch; updates the centers.

        Args:
            inputs: ``num_crops`` views (B, 3, H, W), the global ones first.
            data_samples: B samples with ``view_masks``; not needed if ``masks`` are given.
            masks: (B, T, h, w) bool.
            teacher_tokens: (B, T, 1 + N, C) if they are known already.

        Returns:
            ``loss``, and its parts ``cls_term`` and ``patch_term``.

        Raises:
            ValueError: If the number of views is not ``head.num_crops``, or there are no masks.
        """
        self.check_num_crops(inputs)
        targets = global_views(inputs)
        self.check_views(inputs, len(targets))
        if masks is None:
            masks = self.masks_of(data_samples, targets)
        return self.head.loss(self.outputs(inputs, len(targets), masks, teacher_tokens))
