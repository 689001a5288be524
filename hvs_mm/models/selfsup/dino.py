"""DINO: self-distillation with no labels."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import torch
from mmpretrain.models.selfsup.base import BaseSelfSupervisor
from mmpretrain.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...selection.pair_losses.base import Samples, Views
from ...selection.pair_losses.forward import forward_views
from ...utils.compile_guards import plain_drop_path
from ..backbones.masked_vit import patch_size
from ..checks import ViewsError
from ..heads.dino_head import DINOHead
from ..necks.dino_neck import DINONeck, WeightNormLinear
from .teacher import build_teacher, is_random, loaded_names, update_ema


@MODELS.register_module()
class DINO(BaseSelfSupervisor):
    """DINO (`arXiv 2104.14294 <https://arxiv.org/abs/2104.14294>`_).

    A student sees all crops of an image, a teacher the global ones. The student learns to give the
    distribution of the teacher for every other crop; the teacher is a running average of the
    student. :class:`hvs_mm.engine.TeacherHook` updates it after every optimizer step.

    The global crops come first. They are those of the size of the first view.

    Args:
        backbone: Config of a ``VisionTransformer`` with ``out_type='cls_token'``, or of a backbone
            that gives feature maps.
        neck: Config of the projection, see :class:`hvs_mm.models.DINONeck`.
        head: Config of the loss, see :class:`hvs_mm.models.DINOHead`.
        **kwargs: As for ``BaseSelfSupervisor``. A teacher that the checkpoint ``pretrained`` lacks
            starts as the student.

    Raises:
        ValueError: If backbone, neck and head do not fit together.
    """

    #: The types that parts must have.
    part_types: ClassVar[dict[str, type]] = {'neck': DINONeck, 'head': DINOHead}

    def __init__(
        self, backbone: dict[str, Any], neck: dict[str, Any], head: dict[str, Any], **kwargs: Any
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, head=head, **kwargs)
        self._check_parts()
        plain_drop_path(self.backbone)
        check_prototypes('out_channels', self.neck.last_layer, self.head.center)
        self.teacher = build_teacher(backbone=self.backbone, neck=self.neck)

    def _check_parts(self) -> None:
        for name, wanted in self.part_types.items():
            part = getattr(self, name)
            # iBOT's parts derive from DINO's, but are not for it.
            is_for = getattr(part, 'algorithm', None) == getattr(wanted, 'algorithm', None)
            if not isinstance(part, wanted) or not is_for:
                raise ValueError(
                    f'model.{name} of {type(self).__name__} must be of type {wanted.__name__}, not '
                    f"{type(part).__name__}: set type='{wanted.__name__}'."
                )
        out_type = getattr(self.backbone, 'out_type', None)
        if 'backbone' not in self.part_types and out_type == 'raw':
            raise ValueError(
                f'model.backbone of {type(self).__name__} is a {type(self.backbone).__name__} with '
                "out_type='raw', which gives all tokens: it needs one feature per image, such as "
                "type='VisionTransformer' with out_type='cls_token'."
            )

    def init_weights(self) -> None:
        # A second call leaves the weights alone, and so the teacher.
        is_first = not self._is_init
        with loaded_names(self.teacher) as loaded:
            super().init_weights()
        if is_first:
            student = self._student().state_dict()
            missing = {name: value for name, value in student.items() if name not in loaded}
            self.teacher.load_state_dict(missing, strict=False)

    def _student(self) -> nn.ModuleDict:
        return nn.ModuleDict({'backbone': self.backbone, 'neck': self.neck})

    @property
    def teacher_is_per_sample(self) -> bool:
        """Whether the teacher's logits of a view do not depend on the rest of the batch."""
        norms = [m for m in self.teacher.modules() if isinstance(m, _BatchNorm)]
        return not is_random(self.teacher) and not any(norm.training for norm in norms)

    def student_logits(self, views: Views) -> Tensor:
        """Logits (B, S, K) of S views (B, 3, H, W)."""
        return _logits(self.backbone, self.neck, views)

    @torch.no_grad()
    def teacher_logits(self, views: Views) -> Tensor:
        """Logits (B, T, K) of T views (B, 3, H, W)."""
        neck = cast(DINONeck, self.teacher['neck'])
        return _logits(self.teacher['backbone'], neck, views)

    def loss(
        self, inputs: Views, data_samples: Samples = None, teacher_logits: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Loss of a batch; updates the center.

        Args:
            inputs: ``num_crops`` views (B, 3, H, W), the global ones first.
            data_samples: Unused.
            teacher_logits: (B, T, K) if they are known already.

        Raises:
            ValueError: If the number of views is not ``head.num_crops``.
        """
        targets = self._targets_of(inputs)
        if teacher_logits is None:
            teacher_logits = self.teacher_logits(targets)
        return {'loss': self.head.loss(self.student_logits(inputs), teacher_logits)}

    def _targets_of(self, views: Views) -> list[Tensor]:
        """The global ones of the views of a training step, which are checked."""
        if len(views) != self.head.num_crops:
            raise ValueError(
                f'{type(self).__name__} got {len(views)} views, but its head is for num_crops='
                f'{self.head.num_crops}: set model.head.num_crops, or the number of views that '
                'the pipeline draws.'
            )
        targets = global_views(views)
        self.check_views(views, len(targets))
        return targets

    def check_views(self, views: Views, num_targets: int) -> None:
        """Raise ``ViewsError`` unless the views can be cut into patches, and those of the first
        one's size are the ``num_targets`` global ones.
        """
        count = len(global_views(views))
        if num_targets != count:
            raise ViewsError(
                f'{num_targets} views are targets, but {type(self).__name__} takes the {count} '
                "leading views of the first one's size for its teacher: correct target_groups, or "
                'leave it out.'
            )
        patch = patch_size(self.backbone)
        for view in views:
            if view.shape[2] % patch[0] or view.shape[3] % patch[1]:
                # MMCV's PatchEmbed would pad such an image with zeros.
                raise ViewsError(
                    f'views of {view.shape[2]} x {view.shape[3]} pixels cannot be cut into '
                    f'patches of {patch[0]} x {patch[1]}: make the crop size a multiple of '
                    'model.backbone.patch_size.'
                )

    def update_teacher(self, momentum: float) -> None:
        """Move the teacher towards the student, by a share ``momentum`` such as 0.004."""
        update_ema(self.teacher, self._student(), momentum)


def _logits(backbone: nn.Module, neck: DINONeck, views: Views) -> Tensor:
    # (B, S, C)
    features = forward_views(lambda x: neck.pool(backbone(x)), views)
    # The views of all sizes at once, as in the published code: BatchNorm depends on it.
    return neck.logits(features.flatten(0, 1)).unflatten(0, features.shape[:2])


def global_views(views: Views) -> list[Tensor]:
    """The leading views that have the size of the first one."""
    # torch.compile cannot follow itertools.takewhile.
    count = 0
    while count < len(views) and views[count].shape == views[0].shape:
        count += 1
    return list(views[:count])


def check_prototypes(name: str, last_layer: WeightNormLinear, center: Tensor) -> None:
    """Raise ``ValueError`` unless neck and head have equally many prototypes."""
    in_neck, in_head = len(last_layer.weight_v), center.shape[1]
    if in_neck != in_head:
        raise ValueError(
            f'the neck has {name}={in_neck}, the head {name}={in_head}: both are the number of '
            'prototypes, make them equal.'
        )
