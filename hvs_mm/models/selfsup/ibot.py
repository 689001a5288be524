"""iBOT: self-distillation with masked image modeling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import numpy as np
import torch
from mmpretrain.registry import MODELS
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from ...losses.ibot import IBOTOutputs, find_masked
from ...selection.pair_losses.base import Samples, Views
from ...selection.pair_losses.forward import forward_views
from ...utils.compile_guards import compile_guards
from ...utils.to_device import to_device
from ..backbones.masked_vit import MaskedVisionTransformer, patch_size
from ..checks import ViewsError
from ..heads.ibot_head import IBOTHead
from ..necks.ibot_neck import IBOTNeck
from .dino import DINO, check_prototypes


@MODELS.register_module()
class IBOT(DINO):
    """iBOT (`arXiv 2111.07832 <https://arxiv.org/abs/2111.07832>`_).

    DINO on the [CLS] token, and on the patches of the global crops that are masked for the student
    and visible to the teacher. :class:`hvs_mm.datasets.BlockMasks` draws the masks,
    :class:`hvs_mm.engine.TeacherHook` updates the teacher after every optimizer step.

    Args:
        **kwargs: As for :class:`DINO`; backbone, neck and head have the types of ``part_types``.

    Raises:
        ValueError: As for :class:`DINO`, or if the patches of a neck with BatchNorm are to be
            centered by all.
    """

    part_types: ClassVar[dict[str, type]] = {
        'backbone': MaskedVisionTransformer,
        'neck': IBOTNeck,
        'head': IBOTHead,
    }

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        neck = self.neck
        last_layer = neck.last_layer if neck.shared_head else neck.last_layer2
        check_prototypes('patch_out_channels', last_layer, self.head.patch_center)
        if self.head.centers_all_patches and any(isinstance(m, _BatchNorm) for m in neck.modules()):
            raise ValueError(
                "head.patch_center='all' needs a neck without BatchNorm, which would see the other "
                "patches, too: set neck.use_bn=False, or head.patch_center='masked'."
            )

    @torch.compiler.disable
    def masks_of(self, data_samples: Sequence[Any] | None, views: Views) -> Tensor:
        """The masks (B, T, h, w), bool, of T global views, from ``view_masks`` of the samples.

        They are on the host, which then knows how many patches are masked. Nothing is masked before
        the epoch ``head.mask_start_epoch``.

        Raises:
            ViewsError: If the samples hold no masks, or masks of another shape.
        """
        shape = (len(views[0]), len(views), *self.patch_grid(views[0]))
        if not self.head.masks_are_on():
            return torch.zeros(shape, dtype=torch.bool)
        masks: list[Any] = [
            getattr(sample, 'view_masks', None) for sample in data_samples or [None]
        ]
        if any(mask is None for mask in masks):
            raise ViewsError(
                f'{type(self).__name__} found no view_masks in the data samples: put '
                "dict(type='BlockMasks') between CandidateViews (or MultiView) and PackViews in "
                'the pipeline of train_dataloader.dataset.'
            )
        kinds = {getattr(mask, 'dtype', type(mask).__name__) for mask in masks}
        if kinds != {np.dtype(bool)}:
            raise ViewsError(
                f'view_masks are {", ".join(sorted(map(str, kinds)))}: each must be an ndarray '
                '(T, h, w) of bool, as BlockMasks gives it.'
            )
        shapes = {mask[: len(views)].shape if mask.ndim else () for mask in masks}
        if shapes != {shape[1:]} or len(masks) != shape[0]:
            raise ViewsError(
                f'view_masks of {len(masks)} samples have shapes {sorted(shapes)}, the views need '
                f'{shape[1:]} for {shape[0]} samples: give BlockMasks patch_size='
                f'{patch_size(self.backbone)[0]}, and put it behind the transform that draws the '
                'views.'
            )
        return torch.from_numpy(np.stack([mask[: len(views)] for mask in masks]))

    def patch_grid(self, view: Tensor) -> tuple[int, int]:
        """Rows and columns of the patches of a view (B, 3, H, W)."""
        height, width = patch_size(self.backbone)
        return view.shape[2] // height, view.shape[3] // width

    def teacher_tokens(self, views: Views) -> Tensor:
        """Tokens (B, T, 1 + N, C) of T views (B, 3, H, W), without masks or gradient."""
        with torch.no_grad():
            return forward_views(lambda x: self.teacher['backbone'](x)[-1], views)

    @compile_guards
    def outputs(
        self,
        views: Views,
        num_targets: int,
        masks: Tensor,
        max_masked: int | None = None,
        teacher_logits: Tensor | None = None,
        teacher_patches: Tensor | None = None,
        teacher_patch_means: Tensor | None = None,
        visible: Tensor | None = None,
    ) -> IBOTOutputs:
        """Forward student and teacher.

        Args:
            views: S views (B, 3, H, W), the T global ones first.
            num_targets: T.
            masks: (B, T, h, w) bool; the host waits for those of a GPU unless ``max_masked`` is
                given.
            max_masked: Upper bound of the masked patches, see
                :func:`hvs_mm.losses.ibot.find_masked`.
            teacher_logits: (B, T, K) of the [CLS] tokens, if they are known already.
            teacher_patches: (M, K') of the listed patches, known together with them.
            teacher_patch_means: (B, T, K'), likewise, if the head centers all patches.
            visible: (n,) int64, the patches that the transformers keep; all by default.
        """
        device = views[0].device
        if self.neck.has_batch_norm:
            # Patches that only fill up would enter its statistics.
            max_masked = None
        # (B, T, h, w) -> (B, T, 1, n)
        left = masks if visible is None else masks.flatten(2)[:, :, None, visible]
        positions, is_masked = find_masked(left, max_masked)
        num_patches = left.shape[2] * left.shape[3]
        rows_and_patches = positions // num_patches, positions % num_patches
        where = [to_device(part, device) for part in rows_and_patches]
        # (B, T, h, w) -> (T * B, h, w), in the order in which forward_views joins the views
        joined = to_device(masks, device).transpose(0, 1).flatten(0, 1)
        features, student, student_patches = self._student_outputs(
            views, num_targets, joined, *where
        )
        if teacher_logits is None or teacher_patches is None:
            teacher = self._teacher_outputs(views[:num_targets], *where)
            teacher_logits, teacher_patches, teacher_patch_means = teacher
        return IBOTOutputs(
            student=student,
            teacher=teacher_logits,
            student_patches=student_patches,
            teacher_patches=teacher_patches,
            rows=where[0],
            is_masked=is_masked,
            teacher_patch_means=teacher_patch_means,
            features=features,
        )

    def _student_outputs(
        self, views: Views, num_targets: int, masks: Tensor, rows: Tensor, patches: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """[CLS] tokens (B, T, C) of the student, its logits (B, S, K), and (M, K') of patches."""
        # (B, T, 1 + N, C)
        tokens = forward_views(lambda x: self.backbone(x, masks)[-1], views[:num_targets])
        # A copy: the other tokens need not live as long.
        cls = features = tokens[:, :, 0].contiguous()
        if len(views) > num_targets:
            local = forward_views(lambda x: self.backbone(x)[-1][:, 0], views[num_targets:])
            cls = torch.cat([cls, local], dim=1)
        logits = self.neck.logits(cls.flatten(0, 1)).unflatten(0, cls.shape[:2])
        return features, logits, self.neck.patch_logits(tokens.flatten(0, 1)[rows, 1 + patches])

    @torch.no_grad()
    def _teacher_outputs(
        self, views: Views, rows: Tensor, patches: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The teacher's logits (B, T, K) of [CLS] tokens, (M, K') of patches, and their means."""
        neck, tokens = cast(IBOTNeck, self.teacher['neck']), self.teacher_tokens(views)
        logits = neck.logits(tokens[:, :, 0].flatten(0, 1)).unflatten(0, tokens.shape[:2])
        means = neck.patch_means(tokens[:, :, 1:]) if self.head.centers_all_patches else None
        return logits, neck.patch_logits(tokens.flatten(0, 1)[rows, 1 + patches]), means

    def loss(
        self,
        inputs: Views,
        data_samples: Samples = None,
        masks: Tensor | None = None,
        **known: Any,
    ) -> dict[str, Tensor]:
        """Loss of a batch and its parts ``cls_term`` and ``patch_term``; updates the centers.

        Args:
            inputs: As for :meth:`DINO.loss`.
            data_samples: B samples with ``view_masks``; not needed if ``masks`` are given.
            masks: (B, T, h, w) bool.
            **known: ``max_masked`` and the teacher's outputs, as :meth:`outputs` takes them.
        """
        targets = self._targets_of(inputs)
        if masks is None:
            masks = self.masks_of(data_samples, targets)
        return self.head.loss(self.outputs(inputs, len(targets), masks, **known))
