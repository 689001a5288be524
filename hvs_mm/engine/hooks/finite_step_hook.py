"""Skip optimizer steps on numbers that are not finite, without a trace."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS
from torch import Tensor, nn

from ...utils.arguments import check_share, check_whole
from ...utils.sharded_tensor import is_sharded
from ...utils.state_guard import StateGuard
from ...utils.unwrap_model import unwrap_model
from ..optim.finiteness import finite_gradients, finite_values, first_nonfinite
from ..runners.checkpoint_paths import last_good_checkpoint


class NonFiniteError(RuntimeError):
    """A run cannot continue because its numbers are not finite."""


@HOOKS.register_module()
class FiniteStepHook(Hook):
    """Skips every optimizer step on a loss, gradient or buffer that is NaN or infinite.

    A skipped step leaves no trace: parameters, the optimizer's averages, the statistics of
    BatchNorm, the centers of DINO and iBOT, and teachers are bit for bit those before the step.
    Schedules advance. Under gradient accumulation all iterations since the last step are lost
    with it. If one of several processes has to skip a step, all do.

    The hook checks the losses that the model returns; the gradients right before the optimizer
    step, after a loss scaler, which may already have skipped the step; and all buffers, except
    those that are not finite when training starts, such as a mask of ``-inf``. A gradient also
    counts as not finite where its squares overflow (a norm above 1.8e19). Clipping turns infinite
    gradients into 0: with ``clip_grad`` of the optimizer wrapper the hook reads MMEngine's
    ``grad_norm``; with ``clip_grad.type='value'`` it only sees NaN.

    Works with any :class:`mmengine.optim.OptimWrapper` of a single optimizer that ignores
    parameters without a gradient, as torch's and LARS do. Each step synchronizes with the device
    once, as a loss scaler does.

    A warning reports each skipped step. Its losses do not enter the log's means. ``skipped_steps``
    in the log, once there is one, counts over all resumed parts of the run.

    Args:
        max_consecutive: Stop the run with a :class:`NonFiniteError` after so many skipped steps
            in a row. The default is above the 16 that torch's ``GradScaler`` may skip at the
            start: halving its first scale of 65536 as often makes it 1.
        max_share: Stop it as well if more than this share of the last ``window`` steps was skipped;
            1 for never.
        window: Optimizer steps that ``max_share`` is of, counted from the start or the resume.

    Raises:
        ValueError: If ``max_consecutive`` or ``window`` is below 1, or ``max_share`` is not a
            number from 0 to 1.
    """

    # Ahead of all others: they find no trace of a skipped step, either. Its check of gradients
    # comes before GradientHook changes them, in the order in which both are set up.
    priority = 'HIGHEST'

    def __init__(
        self, max_consecutive: int = 20, max_share: float = 0.25, window: int = 100
    ) -> None:
        hint = 'the number of optimizer steps skipped in a row that stops a run.'
        self.max_consecutive = check_whole('max_consecutive', max_consecutive, hint=hint)
        hint = 'the share of the last optimizer steps whose skipping stops a run.'
        self.max_share = check_share('max_share', max_share, hint=hint)
        hint = 'the number of optimizer steps that max_share is of.'
        self._window = check_whole('window', window, hint=hint)
        #: Whether each of the last steps was skipped.
        self._last: deque[bool] = deque(maxlen=self._window)
        #: The ``nn.Module`` that is trained, once training begins.
        self._model: Any = None
        #: Whether the iteration that hooks are called for ended in a skipped step.
        self.was_skipped = False

    def before_train(self, runner: Runner) -> None:
        # One of several optimizers is an OptimWrapper, too.
        if isinstance(runner.optim_wrapper, OptimWrapperDict):
            raise TypeError(
                f'FiniteStepHook needs an optimizer wrapper of a single optimizer, not '
                f'{type(runner.optim_wrapper).__name__}: leave it out with --cfg-options '
                'default_hooks.finite_step=None.'
            )
        self._model = unwrap_model(runner.model)
        self._optim_wrapper = runner.optim_wrapper
        self._device = next(self._model.parameters()).device
        self._snapshot = StateGuard(self._model, averages=True)
        self._unwatched = {
            name
            for name, buffer in self._model.named_buffers()
            if buffer.is_floating_point() and not finite_values([buffer], self._device)
        }
        if self._unwatched:
            runner.logger.warning(
                f'FiniteStepHook does not watch {len(self._unwatched)} buffers that are not finite '
                f'from the start: {", ".join(sorted(self._unwatched))}. Fine for a constant mask; '
                'but statistics of BatchNorm or a center are lost: start from an earlier '
                'checkpoint.'
            )
        self._consecutive = 0
        self._last.clear()
        self._is_first_of_step = True
        self._is_listening = False
        self._handles = [
            runner.model.register_forward_hook(self._note_losses),
            runner.optim_wrapper.optimizer.register_step_pre_hook(self._before_step),
        ]

    def before_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        if self._is_first_of_step:
            self._snapshot.take()
            #: () bool on the device: whether nothing in the iterations of this step was bad.
            self._losses_are_finite = torch.ones((), dtype=torch.bool, device=self._device)
            self._is_first_of_step = False
        self.was_skipped = False
        self._causes: list[str] | None = None
        self._is_listening = True

    def _note_losses(self, module: nn.Module, args: Any, output: Any) -> None:
        """Remember, on the device, whether the losses that the model returns are finite."""
        if not self._is_listening or not isinstance(output, dict):
            return
        for name, value in output.items():
            # MMEngine adds up these entries.
            if 'loss' in name:
                for part in value if isinstance(value, (list, tuple)) else [value]:
                    is_finite = part.detach().isfinite().all().to(self._device)
                    self._losses_are_finite = self._losses_are_finite & is_finite

    def _before_step(self, optimizer: torch.optim.Optimizer, *args: Any) -> None:
        parameters = [p for group in optimizer.param_groups for p in group['params']]
        gradients = [p.grad for p in parameters if p.grad is not None]
        finite = finite_gradients(gradients, self._device) & self._clipped_a_finite_norm(gradients)
        flags = torch.stack([self._losses_are_finite, finite, self._buffers_are_finite()]).float()
        # One process alone may have a bad loss without a gradient, or a bad buffer.
        all_reduce(flags, 'min')
        self._causes = self._name_causes(*flags.tolist())
        if self._causes:
            for parameter in parameters:
                # Without a gradient optimizers touch neither the parameter nor its averages.
                parameter.grad = None

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self._is_listening = False
        if not runner.optim_wrapper.should_update():
            # A checkpoint may be saved before the step.
            if not (self._losses_are_finite & self._buffers_are_finite()):
                self._snapshot.restore()
                self._losses_are_finite = torch.zeros_like(self._losses_are_finite)
                _drop_nonfinite(outputs)
            return
        self._is_first_of_step = True
        if self._causes is None:
            # The loss scaler has found bad gradients and not called the optimizer.
            buffers = self._buffers_are_finite()
            self._causes = self._name_causes(self._losses_are_finite, True, buffers)
            scaler = getattr(runner.optim_wrapper, 'loss_scaler', None)
            scale = '' if scaler is None else f' (the loss scale becomes {scaler.get_scale():g})'
            self._causes.append(f'gradients{scale}')
        self._last.append(bool(self._causes))
        if self._causes:
            self._skip(runner, outputs)
        else:
            self._consecutive = 0

    def _clipped_a_finite_norm(self, gradients: list[Tensor]) -> bool:
        wrapper = self._optim_wrapper
        if not getattr(wrapper, 'clip_grad_kwargs', None) or not gradients:
            return True
        # The last norm is that of this step: MMEngine logs it whenever there is a gradient.
        norms = wrapper.message_hub.log_scalars.get(f'train/{wrapper.grad_name}')
        return norms is None or math.isfinite(norms.current())

    def _watched_buffers(self) -> dict[str, Tensor]:
        return {
            name: buffer
            for name, buffer in self._model.named_buffers()
            if buffer.is_floating_point() and name not in self._unwatched
        }

    def _buffers_are_finite(self) -> Tensor:
        return finite_values(list(self._watched_buffers().values()), self._device)

    def _name_causes(self, losses: Any, gradients: Any, buffers: Any) -> list[str]:
        """List for the message what is not finite; empty if everything is."""
        firsts: dict[str, str | None] = {} if losses else {'loss': None}
        if not gradients:
            named = ((n, p.grad) for n, p in self._model.named_parameters() if p.grad is not None)
            firsts['gradients'] = first_nonfinite(named)
        if not buffers:
            firsts['buffers'] = first_nonfinite(self._watched_buffers().items(), finite_values)
        return [f'{kind} (first: {name})' if name else kind for kind, name in firsts.items()]

    def _skip(self, runner: Runner, outputs: dict[str, Any] | None) -> None:
        self._snapshot.restore()
        self.was_skipped = True
        self._consecutive += 1
        hub = runner.message_hub
        total = (hub.get_info('skipped_steps') or 0) + 1
        hub.update_info('skipped_steps', total)
        hub.update_scalar('train/skipped_steps', total)
        found = self._causes or []
        share = float((outputs or {}).get('hvs_nonfinite', 0))
        if share:
            found.append(f'{100 * share:.3g} % of the scores of selection')
        _drop_nonfinite(outputs or {})
        causes = ', '.join(found)
        runner.logger.warning(
            f'iteration {runner.iter + 1}: not finite: {causes}. The optimizer step is skipped '
            f'({self._consecutive} in a row, {total} in this run).'
        )
        steps = 'step' if self._consecutive == 1 else f'{self._consecutive} steps in a row'
        if self._consecutive >= self.max_consecutive:
            why = f'the last {steps}', f'max_consecutive={self.max_consecutive}'
            raise NonFiniteError(self._final_message(runner, causes, *why))
        skipped, window = sum(self._last), self._window
        if skipped > self.max_share * window:
            why = f'{skipped} of the last {window} steps', f'max_share={self.max_share:g}'
            raise NonFiniteError(self._final_message(runner, causes, *why))

    def _final_message(self, runner: Runner, causes: str, steps: str, limit: str) -> str:
        bad = first_nonfinite(self._model.named_parameters())
        weights = '' if bad is None else f'The weights themselves are not finite, first {bad}. '
        return (
            f'{steps} up to iteration {runner.iter + 1} were skipped because of numbers that are '
            f'not finite ({limit} of FiniteStepHook). In the last one: {causes}. {weights}'
            f'{_last_checkpoint(runner)} Before training on, lower optim_wrapper.optimizer.lr '
            'or lengthen its warm-up, clip gradients (GradientHook, or optim_wrapper.clip_grad), '
            'train without --amp or in bfloat16 (optim_wrapper.dtype=bfloat16), and look at the '
            'images of these iterations.'
        )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Check the weights: a step on finite numbers may have made them infinite."""
        if self._model is None:
            return
        # Of a sharded parameter this process, the first one, has a part; what it saves is whole.
        state = checkpoint.get('state_dict', {})
        named = [
            (name, state[name] if is_sharded(value) else value.detach())
            for name, value in self._model.named_parameters()
        ]
        if not finite_values([value for _, value in named], self._device):
            raise NonFiniteError(
                f'parameter {first_nonfinite(named, finite_values)} is not finite at iteration '
                f'{checkpoint["meta"]["iter"]}, after an optimizer step on finite gradients. No '
                f'checkpoint is written of it. {_last_checkpoint(runner)} Lower '
                "optim_wrapper.optimizer.lr, or raise the optimizer's eps."
            )

    def after_train(self, runner: Runner) -> None:
        for handle in self._handles:
            handle.remove()


def step_was_skipped(runner: Runner) -> bool:
    """Whether the iteration that hooks are called for ended in a skipped step."""
    return any(isinstance(hook, FiniteStepHook) and hook.was_skipped for hook in runner.hooks)


def _drop_nonfinite(outputs: dict[str, Any]) -> None:
    """Keep values of an iteration that did not count out of the log's means, in place."""
    for name, value in list(outputs.items()):
        if isinstance(value, Tensor) and not value.isfinite().all():
            del outputs[name]


def _last_checkpoint(runner: Runner) -> str:
    # MMEngine sets this before it writes the file.
    has_any = runner.message_hub.get_info('last_ckpt') is not None
    path = last_good_checkpoint(runner) if has_any else None
    if path is None:
        return 'There is no checkpoint of this run yet.'
    return f'The last checkpoint, of finite numbers, is {path}; continue from it with --resume.'
