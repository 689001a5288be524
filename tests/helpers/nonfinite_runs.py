"""Runs with numbers that are not finite, and the same runs without the steps they spoil."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from mmengine.hooks import Hook, ParamSchedulerHook
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmpretrain.registry import HOOKS, OPTIM_WRAPPERS
from torch import Tensor

from tests.helpers.tiny import algorithm_config
from tests.helpers.tiny_dino import build_runner, dino_config


@HOOKS.register_module()
class Fault(Hook):
    """Makes what a module computes overflow in some iterations.

    Args:
        iterations: In which, from 0 on.
        kind: ``'features'`` multiplies what the module gives until it is infinite, ``'pixels'``
            what it gets by ``factor``; ``'gradient'`` makes its gradient NaN, its features not;
            ``'loss'`` adds an infinite loss without a gradient to those that the model returns.
        module: Its name in the model; not for ``'loss'``.
        samples: Which samples of a batch, all by default.
        passes: ``'selection'``, ``'training'``, or both by default.
        factor: Factor of the pixels.
        rank: In this process only.
    """

    def __init__(
        self,
        iterations: Sequence[int],
        kind: str = 'features',
        module: str = 'backbone',
        samples: Sequence[int] | None = None,
        passes: str | None = None,
        factor: float = 1e30,
        rank: int | None = None,
    ) -> None:
        self.iterations, self.kind, self.module = iterations, kind, module
        self.samples, self.passes, self.factor, self.rank = samples, passes, factor, rank
        self.calls = 0
        self.is_on = False

    def before_train(self, runner: Runner) -> None:
        if self.kind == 'loss':
            # Before the hooks that read the losses.
            runner.model.register_forward_hook(self.add_loss, prepend=True)
            return
        model = getattr(runner.model, 'module', runner.model)
        module = model.get_submodule(self.module)
        module.register_forward_pre_hook(self.change_pixels)
        module.register_forward_hook(self.change_features)

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any | None = None
    ) -> None:
        self.is_on = runner.iter in self.iterations and self.rank in (None, runner.rank)
        self.batch_size = len(data_batch['inputs'][0])

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        self.is_on = False

    def is_due(self) -> bool:
        this = 'training' if torch.is_grad_enabled() else 'selection'
        return self.is_on and self.passes in (None, this)

    def rows(self, values: Tensor) -> Tensor:
        """(N, 1, ...) bool: views are joined one after the other, N is a multiple of B."""
        chosen = torch.zeros(self.batch_size, dtype=torch.bool)
        chosen[slice(None) if self.samples is None else list(self.samples)] = True
        chosen = chosen.repeat(len(values) // self.batch_size)
        return chosen.view(-1, *[1] * (values.ndim - 1))

    def change_pixels(self, module: Any, args: Any) -> Any:
        if self.kind != 'pixels' or not self.is_due():
            return None
        self.calls += 1
        pixels = args[0]
        return (torch.where(self.rows(pixels), pixels * self.factor, pixels), *args[1:])

    def add_loss(self, module: Any, args: Any, output: dict[str, Tensor]) -> Any:
        if not self.is_due():
            return None
        self.calls += 1
        return {**output, 'extra_loss': torch.tensor(torch.inf)}

    def change_features(self, module: Any, args: Any, output: Any) -> Any:
        if self.kind == 'pixels' or not self.is_due():
            return None
        self.calls += 1
        if self.kind == 'features':
            return tuple(torch.where(self.rows(x), x * 1e38 * 1e38, x) for x in output)
        # 0, whose derivative is NaN.
        return tuple(x + (x - x.detach()).abs().sqrt() for x in output)


@LOOPS.register_module()
class LeavingOutLoop(EpochBasedTrainLoop):
    """Draws some batches, but does nothing with them; only learning rates go on."""

    def __init__(self, *args: Any, left_out: Sequence[int], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.left_out = left_out

    def run_iter(self, idx: int, data_batch: Any) -> None:
        if self._iter not in self.left_out:
            super().run_iter(idx, data_batch)
            return
        for hook in self.runner.hooks:
            if isinstance(hook, ParamSchedulerHook):
                hook.after_train_iter(self.runner, idx)
        self.runner.optim_wrapper._inner_count += 1
        self._iter += 1


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(AmpOptimWrapper):
    """Upstream's, with float16 and torch's loss scaler on the CPU; upstream's asks for a GPU."""

    def __init__(self, loss_scale: float | dict[str, Any] = 16.0, **kwargs: Any) -> None:
        OptimWrapper.__init__(self, **kwargs)
        is_static = isinstance(loss_scale, float)
        settings = {'init_scale': loss_scale} if is_static else loss_scale
        self._scale_update_param = loss_scale if is_static else None
        self.loss_scaler = torch.amp.GradScaler('cpu', **settings)

    @contextmanager
    def optim_context(self, model: Any) -> Any:
        with OptimWrapper.optim_context(self, model), torch.autocast('cpu', torch.float16):
            yield


#: Optimizer wrappers by precision.
PRECISIONS = {
    'fp32': {},
    'bf16': {'type': 'AutocastOptimWrapper'},
    'fp16': {'type': 'CPUAmpOptimWrapper'},
}


def hvs(algorithm: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    views = {'candidates': [4], 'keep': [2]}
    if algorithm['type'] in ('DINO', 'IBOT'):
        views = {'candidates': [4, 3], 'keep': [2, 2]}
    return {'type': 'HVSAlgorithm', 'algorithm': algorithm, **views, **kwargs}


def model_config(name: str, **kwargs: Any) -> dict[str, Any]:
    """``'SimSiam'``, ``'DINO'``, ..., or ``'HVS SimSiam'``, ... with arguments of selection."""
    method = name.split()[-1]
    if method in ('DINO', 'IBOT'):
        algorithm = dino_config(method, neck={'use_bn': True} if method == 'DINO' else None)
    else:
        algorithm = algorithm_config(method)
    return hvs(algorithm, **kwargs) if name.startswith('HVS') else algorithm


def views_of(model: dict[str, Any]) -> list[int]:
    """The number of global views, and that of local ones if there are any."""
    if model['type'] == 'HVSAlgorithm':
        return list(model['candidates'])
    local = model['head'].get('num_crops', 2) - 2
    return [2, local] if local else [2]


class Recorder(Hook):
    """Everything that a step may change, after every iteration and before it is logged or saved."""

    def __init__(self) -> None:
        self.states: list[dict[str, Any]] = []
        self.rates: list[float] = []
        self.kept: list[Tensor | None] = []

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        self.states.append(state_of(runner))
        self.rates.append(runner.optim_wrapper.optimizer.param_groups[0]['lr'])
        selection = getattr(runner.model, 'last_selection', None)
        self.kept.append(None if selection is None else selection.indices.clone())


def state_of(runner: Runner) -> dict[str, Any]:
    model = getattr(runner.model, 'module', runner.model)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = runner.optim_wrapper.optimizer.state_dict()
    return {'model': weights, 'optimizer': deepcopy(optimizer['state'])}


def assert_same(one: Any, other: Any, path: str = '') -> None:
    """Bit for bit, keys included."""
    if isinstance(one, Tensor):
        assert one.dtype == other.dtype, path
        assert torch.equal(one, other), path
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            assert_same(one[key], other[key], f'{path}.{key}'.lstrip('.'))
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), path
        for number, (a, b) in enumerate(zip(one, other)):
            assert_same(a, b, f'{path}.{number}')
    else:
        assert one == other, path


def assert_finite(value: Any, path: str = '') -> None:
    if isinstance(value, Tensor):
        assert value.isfinite().all(), path
    elif isinstance(value, dict):
        for key, item in value.items():
            assert_finite(item, f'{path}.{key}')
    elif isinstance(value, (list, tuple)):
        for item in value:
            assert_finite(item, path)


def build(
    work_dir: Any,
    model: dict[str, Any],
    faults: Sequence[dict[str, Any]] = (),
    left_out: Sequence[int] = (),
    precision: str = 'fp32',
    guard: dict[str, Any] | bool = True,
    max_epochs: int = 2,
    **kwargs: Any,
) -> tuple[Runner, Recorder]:
    """A Runner of 2 batches of 4 images an epoch, with ``FiniteStepHook`` and faults.

    Args:
        work_dir: Where it writes.
        model: Config of the model.
        faults: Arguments of :class:`Fault`.
        left_out: Iterations without a step, for :class:`LeavingOutLoop`.
        precision: One of ``PRECISIONS``.
        guard: Whether ``FiniteStepHook`` is there, or its arguments.
        max_epochs: Length of the run.
        **kwargs: As for ``build_runner``.
    """
    algorithm = model.get('algorithm', model)
    hooks = [*kwargs.pop('hooks', ()), *({'type': 'Fault', **fault} for fault in faults)]
    if algorithm['type'] in ('DINO', 'IBOT'):
        hooks += [
            {'type': 'TeacherHook', 'momentum': 0.3},
            {'type': 'GradientHook', 'clip': 0.3, 'freeze_epochs': 1},
        ]
    if guard:
        hooks.append({'type': 'FiniteStepHook', **(guard if isinstance(guard, dict) else {})})
    train_cfg = {'by_epoch': True, 'max_epochs': max_epochs}
    if left_out:
        train_cfg = {'type': 'LeavingOutLoop', 'max_epochs': max_epochs, 'left_out': left_out}
    runner = build_runner(
        work_dir,
        model,
        num_views=views_of(model),
        hooks=hooks,
        optim_wrapper={**PRECISIONS[precision], **kwargs.pop('optim_wrapper', {})},
        **{
            'batch_size': 4,
            'num_batches': 2,
            'train_cfg': train_cfg,
            'param_scheduler': {'type': 'LinearLR', 'begin': 0, 'end': 6, 'by_epoch': False},
            **kwargs,
        },
    )
    recorder = Recorder()
    # After the teacher's hook, before those that save.
    runner.register_hook(recorder, priority='NORMAL')
    return runner, recorder


def train(*args: Any, **kwargs: Any) -> tuple[Runner, Recorder]:
    runner, recorder = build(*args, **kwargs)
    runner.train()
    return runner, recorder


def fault_of(runner: Runner) -> Fault:
    (fault,) = (hook for hook in runner.hooks if isinstance(hook, Fault))
    return fault
