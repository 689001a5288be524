"""The loss of iBOT."""

from __future__ import annotations

from math import inf
from typing import Any, ClassVar, cast

import torch
from mmengine.logging import MessageHub
from mmpretrain.registry import MODELS
from torch import Tensor

from ...losses.dino import mean_of_cross_terms
from ...losses.ibot import IBOTOutputs, ibot_pair_loss
from ...utils.arguments import check_choice, check_share
from ...utils.compile_guards import compile_guards
from .center import move_center, register_center
from .dino_head import DINOHead, check_temperature


@MODELS.register_module()
class IBOTHead(DINOHead):
    """Temperatures and centers of iBOT, and the loss formed with them.

    Source: section 3 of `arXiv 2111.07832 <https://arxiv.org/abs/2111.07832>`_.

    Args:
        out_channels: Prototypes of the [CLS] token ``K``.
        patch_out_channels: Prototypes of the patches ``K'``; by default ``out_channels``.
        patch_teacher_temp: Temperature of the teacher for patches after its warm-up.
        warmup_patch_teacher_temp: The same in the first epoch with masks, and before it.
        patch_center: Which patches the center of the patches is the mean of: ``'masked'`` ones, as
            in DINOv2 and Lightly, or ``'all'``, as in the code published with iBOT.
        patch_center_momentum: Share of the old center of the patches in an update.
        mask_start_epoch: First epoch with masks.
        cls_weight: Weight of the [CLS] term, ``lambda1``.
        patch_weight: Weight of the patch term, ``lambda2``.
        **kwargs: As for :class:`DINOHead`. ``warmup_teacher_temp_epochs`` holds for both: for
            the [CLS] token from the first epoch on, for patches from the first with masks.

    Raises:
        ValueError: If a temperature is not positive and finite, a weight negative or not finite,
            ``mask_start_epoch`` negative, ``patch_center`` unknown, or a momentum outside [0, 1].
    """

    algorithm: ClassVar[str] = 'IBOT'

    def __init__(
        self,
        out_channels: int = 8192,
        patch_out_channels: int | None = None,
        patch_teacher_temp: float = 0.07,
        warmup_patch_teacher_temp: float = 0.04,
        patch_center: str = 'masked',
        patch_center_momentum: float = 0.9,
        mask_start_epoch: int = 0,
        cls_weight: float = 1.0,
        patch_weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(out_channels, **kwargs)
        weights = {'cls_weight': cls_weight, 'patch_weight': patch_weight}
        for name, value in {**weights, 'mask_start_epoch': mask_start_epoch}.items():
            if not 0 <= value < inf:
                raise ValueError(f'{name}={value} must be finite and not negative.')
        self.patch_teacher_temp = check_temperature('patch_teacher_temp', patch_teacher_temp)
        self.warmup_patch_teacher_temp = check_temperature(
            'warmup_patch_teacher_temp', warmup_patch_teacher_temp
        )
        self.patch_center_momentum = check_share('patch_center_momentum', patch_center_momentum)
        self.mask_start_epoch = mask_start_epoch
        self.cls_weight = cls_weight
        self.patch_weight = patch_weight
        check_choice('patch_center', patch_center, ('masked', 'all'), hint='the averaged patches.')
        #: Whether the center of the patches is the mean of all, not of the masked ones.
        self.centers_all_patches = patch_center == 'all'
        register_center(self, 'patch_center', patch_out_channels or out_channels)

    @torch.compiler.disable
    def masks_are_on(self) -> bool:
        """Whether the current epoch, known to MMEngine's ``MessageHub``, is one with masks."""
        epoch = MessageHub.get_current_instance().get_info('epoch') or 0
        return epoch >= self.mask_start_epoch

    def current_patch_teacher_temp(self) -> float:
        """Temperature of the teacher for patches in the current epoch."""
        temperatures = self.warmup_patch_teacher_temp, self.patch_teacher_temp
        return self._warmed_up(*temperatures, self.mask_start_epoch)

    @compile_guards
    def pair_loss(self, outputs: IBOTOutputs) -> Tensor:
        """The [CLS] losses (B, T, S) of pairs of views, on the diagonal the patch losses."""
        of_teacher = self.current_teacher_temp(), self.current_patch_teacher_temp()
        centers = self.center, self.patch_center
        return ibot_pair_loss(outputs, *centers, self.student_temp, *of_teacher)

    @compile_guards
    def loss(self, outputs: IBOTOutputs) -> dict[str, Tensor]:
        """Weighted sum ``loss`` of ``cls_term`` and ``patch_term``; then update the centers."""
        pair_loss = self.pair_loss(outputs)
        cls = mean_of_cross_terms(pair_loss).mean()
        patch = pair_loss.diagonal(dim1=1, dim2=2).mean()
        self.update_centers(outputs)
        return {
            'loss': self.cls_weight * cls + self.patch_weight * patch,
            'cls_term': cls.detach(),
            'patch_term': patch.detach(),
        }

    def update_centers(self, outputs: IBOTOutputs) -> None:
        """Move both centers towards the means of the teacher's logits of all processes."""
        self.update_center(outputs.teacher)
        patches, counts = outputs.teacher_patches, outputs.is_masked
        if self.centers_all_patches:
            # All views have equally many patches.
            means = cast(Tensor, outputs.teacher_patch_means)
            patches, counts = means.flatten(0, 1), None
        momentum = self.patch_center_momentum
        move_center(self, 'patch_center', patches, momentum, counts, self.step_follows)
