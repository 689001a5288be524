"""The loss of DINOv2."""

from __future__ import annotations

from functools import reduce
from math import inf
from typing import Any, ClassVar, cast

import torch
from mmpretrain.registry import MODELS
from torch import Tensor

from ...losses.dinov2 import dinov2_pair_loss
from ...losses.ibot import IBOTOutputs
from ...losses.koleo import koleo_loss
from ...utils.arguments import check_choice, is_number
from ...utils.compile_guards import compile_guards
from .ibot_head import IBOTHead


@MODELS.register_module()
class DINOv2Head(IBOTHead):
    """Temperatures and centering of DINOv2, and the loss formed with them.

    Source: section 4 of `arXiv 2304.07193 <https://arxiv.org/abs/2304.07193>`_ and the published
    code. KoLeo is a property of the batch, not of a view: it enters the training loss, summed over
    the global views, but no score of a selection.

    Args:
        out_channels: Prototypes of the [CLS] token ``K``.
        centering: ``'sinkhorn'`` assigns the teacher's outputs of a batch to prototypes by
            Sinkhorn-Knopp, as for the published models; ``'softmax'`` subtracts their running mean,
            as DINO, iBOT and the published short recipe.
        koleo_weight: Weight of KoLeo of the student's [CLS] tokens, 0 to leave it out.
        **kwargs: As for :class:`IBOTHead`. The centers and their momentum are for ``'softmax'``.

    Raises:
        ValueError: As for :class:`IBOTHead`, or if ``centering`` is unknown or ``koleo_weight``
            negative; in training, if KoLeo gets a single sample.
    """

    algorithm: ClassVar[str] = 'DINOv2'

    def __init__(
        self,
        out_channels: int = 65536,
        centering: str = 'sinkhorn',
        koleo_weight: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(out_channels, **kwargs)
        check_choice('centering', centering, ('sinkhorn', 'softmax'))
        if not is_number(koleo_weight) or not 0 <= koleo_weight < inf:
            raise ValueError(f'koleo_weight={koleo_weight!r} must be finite and not negative.')
        self.uses_sinkhorn = centering == 'sinkhorn'
        self.koleo_weight = koleo_weight

    @compile_guards
    def pair_loss(self, outputs: IBOTOutputs) -> Tensor:
        """The [CLS] losses (B, T, S) of pairs of views, on the diagonal the patch losses.

        With Sinkhorn-Knopp the loss of a sample depends on the others of ``outputs``.
        """
        if not self.uses_sinkhorn:
            return super().pair_loss(outputs)
        of_teacher = self.current_teacher_temp(), self.current_patch_teacher_temp()
        return dinov2_pair_loss(outputs, self.student_temp, *of_teacher)

    @compile_guards
    def loss(self, outputs: IBOTOutputs) -> dict[str, Tensor]:
        """Weighted sum ``loss`` of ``cls_term``, ``patch_term`` and ``koleo_cls_term``.

        The last is the mean over the T global views. Centers, if any, are updated after it.
        """
        losses = super().loss(outputs)
        if not self.koleo_weight:
            return losses
        features = cast(Tensor, outputs.features)
        per_view = [koleo_loss(one).mean() for one in features.unbind(1)]
        koleo = reduce(torch.add, per_view)
        losses['loss'] = losses['loss'] + self.koleo_weight * koleo
        losses['koleo_cls_term'] = koleo.detach() / len(per_view)
        return losses

    def update_centers(self, outputs: IBOTOutputs) -> None:
        """Move both centers, unless Sinkhorn-Knopp takes their place."""
        if not self.uses_sinkhorn:
            super().update_centers(outputs)
