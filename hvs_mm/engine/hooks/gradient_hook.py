"""Clip and freeze gradients between backward pass and optimizer step, as DINO and iBOT do."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import IterBasedTrainLoop, Runner
from mmpretrain.registry import HOOKS
from torch import Tensor, nn

from ...utils.arguments import check_choice, check_share
from ...utils.sharded_tensor import is_sharded, local_part
from ...utils.unwrap_model import unwrap_model


def clip_each_gradient(parameters: list[nn.Parameter], max_norm: float) -> None:
    """Scale the gradient of every tensor to a norm of at most ``max_norm``.

    As the code published with DINO does: tensor by tensor, unlike
    ``torch.nn.utils.clip_grad_norm_``, which scales all by their common norm. Parameters without a
    gradient are skipped. Either all are sharded or none is. No device synchronization.
    """
    gradients: list[Tensor] = [p.grad for p in parameters if p.grad is not None]
    if gradients:
        parts = [local_part(gradient) for gradient in gradients]
        norms = torch._foreach_norm(parts)
        if any(map(is_sharded, gradients)):
            squares = torch.stack(norms).square()
            all_reduce(squares)
            norms = squares.sqrt().unbind()
        factors = [(max_norm / (norm + 1e-6)).clamp(max=1) for norm in norms]
        torch._foreach_mul_(parts, factors)


def clip_parts(parameters: dict[str, nn.Parameter], max_norm: float) -> None:
    """Scale the gradients of each part of a model, such as its backbone, by their common norm.

    Parameters come by name; the part is the first word of it.
    """
    parts: dict[str, list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        parts.setdefault(name.split('.')[0], []).append(parameter)
    for part in parts.values():
        nn.utils.clip_grad_norm_(part, max_norm)


#: How to clip named parameters, by the setting ``by``. None synchronizes with the device.
CLIPPERS: dict[str, Callable[[dict[str, nn.Parameter], float], Any]] = {
    'tensor': lambda trained, clip: clip_each_gradient(list(trained.values()), clip),
    'part': clip_parts,
    'model': lambda trained, clip: nn.utils.clip_grad_norm_(list(trained.values()), clip),
}


@HOOKS.register_module()
class GradientHook(Hook):
    """Clips gradients and keeps some parameters frozen at first.

    Acts right before every optimizer step, after the loss scaler of mixed precision. Frozen
    parameters lose their gradient there: neither weights nor the optimizer's averages change,
    weight decay included, and DistributedDataParallel sees the same set of parameters throughout.

    Args:
        clip: Largest norm of a gradient. ``None`` does not clip.
        by: Whose norm that is: of each ``'tensor'`` by itself, as the code published with DINO and
            iBOT clips; of each ``'part'``, backbone and neck, as DINOv2; or of the ``'model'``, all
            tensors together, as `automl/hvp <https://github.com/automl/hvp>`_ does for DINO. Frozen
            parameters count.
        freeze: Regular expression; parameters whose name contains a match are frozen.
        freeze_epochs: Number of epochs in which they are frozen.
        freeze_share: Share of the run in which they are frozen, counted in iterations: with
            ``freeze=r'(^|\\.)backbone\\.'`` new heads warm up on a pretrained backbone.

    Raises:
        ValueError: If ``clip`` is not positive, ``by`` unknown, ``freeze_epochs`` negative or
            ``freeze_share`` outside [0, 1]; before training, if ``freeze`` matches no parameter,
            ``freeze_epochs`` is set while the loop counts iterations instead of epochs, or
            gradients would be clipped while a loss scaler's scale is still on them.
    """

    def __init__(
        self,
        clip: float | None = None,
        freeze: str = r'(^|\.)neck\.last_layer',
        freeze_epochs: int = 0,
        by: str = 'tensor',
        freeze_share: float = 0.0,
    ) -> None:
        if clip is not None and clip <= 0:
            raise ValueError(f'clip={clip} must be positive, or None not to clip.')
        if freeze_epochs < 0:
            raise ValueError(f'freeze_epochs={freeze_epochs} must not be negative.')
        self.clip = clip
        self.by = check_choice('by', by, CLIPPERS, hint='whose gradient norm is clipped.')
        self.freeze = freeze
        self.freeze_epochs = freeze_epochs
        hint = 'the share of the run in which they are frozen.'
        self.freeze_share = check_share('freeze_share', freeze_share, hint=hint)

    def before_train(self, runner: Runner) -> None:
        named = unwrap_model(runner.model).named_parameters()
        trained = {name: p for name, p in named if p.requires_grad}
        frozen = [p for name, p in trained.items() if re.search(self.freeze, name)]
        if (self.freeze_epochs or self.freeze_share) and not frozen:
            option = 'freeze_epochs' if self.freeze_epochs else 'freeze_share'
            raise ValueError(
                f'freeze={self.freeze!r} is found in the name of no trained parameter, such as '
                f'{next(iter(trained))!r}: correct it, or set {option}=0.'
            )
        if self.freeze_epochs and isinstance(runner.train_loop, IterBasedTrainLoop):
            # Such a loop stays in epoch 0, so the parameters would stay frozen.
            raise ValueError(
                f'freeze_epochs={self.freeze_epochs} of GradientHook counts epochs, but the train '
                f'loop, {type(runner.train_loop).__name__}, counts iterations: set freeze_epochs=0,'
                " or train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=...)."
            )
        if self.clip is not None:
            _check_unscaled(runner.optim_wrapper, self.clip)

        def before_step(*args: Any) -> None:
            if self.clip is not None:
                CLIPPERS[self.by](trained, self.clip)
            if (
                runner.epoch < self.freeze_epochs
                or runner.iter < self.freeze_share * runner.max_iters
            ):
                for parameter in frozen:
                    parameter.grad = None

        self._handle = runner.optim_wrapper.optimizer.register_step_pre_hook(before_step)

    def after_train(self, runner: Runner) -> None:
        self._handle.remove()


def _check_unscaled(optim_wrapper: OptimWrapper, clip: float) -> None:
    """Raise ``ValueError`` if the optimizer itself removes the loss scale from the gradients."""
    # torch's GradScaler asks this, too. MMEngine's clip_grad unscales before.
    unscales = getattr(optim_wrapper.optimizer, '_step_supports_amp_scaling', False)
    is_scaled = getattr(optim_wrapper, 'loss_scaler', None) is not None
    if is_scaled and unscales and not getattr(optim_wrapper, 'clip_grad_kwargs', None):
        raise ValueError(scaled_clipping(clip))


def scaled_clipping(clip: float) -> str:
    """The error message about clipping with a fused optimizer and a loss scaler."""
    return (
        f'clip={clip} of GradientHook would clip gradients that the loss scaler has multiplied by '
        'its scale: a fused optimizer divides them only inside of its step. Set --cfg-options '
        'optim_wrapper.optimizer.fused=False.'
    )
