"""DINOv2: iBOT with targets of Sinkhorn-Knopp (arXiv 2304.07193)."""

from __future__ import annotations

from mmpretrain.registry import TASK_UTILS

from .ibot import IBOTPairLoss


@TASK_UTILS.register_module()
class DINOv2PairLoss(IBOTPairLoss):
    """Pair loss of :class:`hvs_mm.models.DINOv2`; the masks of the views come with the samples.

    With Sinkhorn-Knopp the teacher's outputs of all candidates are assigned to prototypes together.
    The training step assigns those of the kept ones, from the same logits.
    """

    algorithms = ('DINOv2',)
    # A single sample is assigned to all prototypes alike.
    min_samples = 2
