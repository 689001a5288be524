"""Measure the health of the network after every epoch, and warn of a collapse."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sized
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmpretrain.registry import HOOKS
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..selection.pair_losses.base import registered_pair_losses
from ..utils.arguments import check_whole
from ..utils.unwrap_model import unwrap_model, whole_weights
from .features import own_model
from .health_probe import measure_health
from .health_problems import find_problems

#: Iterations between two measurements where the length of an epoch is not known.
_PERIOD = 1000
#: Share of an epoch's images that is measured, and the least number.
_SHARE, _AT_LEAST = 8, 64
#: Without BatchNorm the outputs of a teacher were found nearly uniform for 120 iterations of a tiny
#: DINO, which then learned, and for 500 of the demo's.
_OUTPUTS_LATER = 10
#: Values of a weight matrix that are compared from epoch to epoch.
_SAMPLED = 1024


@HOOKS.register_module()
class HealthHook(Hook):
    """Logs how healthy the network is, without labels, and warns if it collapses.

    Acts after every epoch; in a run that counts iterations, after as many as the loader gives in a
    pass over the data. It measures on the last images of the epoch, which the training has loaded
    anyway: no image is read for it, whatever the size of the data set. A fixed set would have to be
    loaded again every time, or kept in memory. The images are new in every epoch, so numbers vary
    a little. A run that is resumed within the last images of an epoch measures on fewer.

    Weights, buffers, modes and random states stay as they are: the run trains as it would without
    the hook. The number of images is an eighth of an epoch, at least 64 and at most
    ``num_images``, which also limits the ranks. On a CPU this took 2 % of an epoch of the demo of
    SimSiam with hard views, and 4 % without; it takes no longer for more than 4096 images.

    The visualizer with its JSON log and the log file get the entries of :func:`measure_health` as
    ``health/feature_rank`` ..., and

    - ``health/weight_change``: how far the direction of a weight matrix has moved since the last
      measurement, from 0 to 2, of the matrix that has moved most.

    A warning says once what is wrong, see :func:`find_problems`: from the second measurement and
    ``warn_after`` iterations on, or ten times as many for the outputs of teacher and student, which
    are nearly uniform at first. Methods without a pair loss, and models that MMEngine's strategies
    shard over processes, are not measured; the log says so.

    Args:
        num_images: Images of all processes to measure on, at most.
        warn_after: Iterations before the first warning.

    Raises:
        ValueError: If ``num_images`` is below 2 or ``warn_after`` negative.
    """

    def __init__(self, num_images: int = 512, warn_after: int = 100) -> None:
        hint = 'the images to measure on after an epoch.'
        self.num_images = check_whole('num_images', num_images, least=2, hint=hint)
        hint = 'the iterations before the first warning.'
        self.warn_after = check_whole('warn_after', warn_after, least=0, hint=hint)
        self._batches: deque[dict[str, Any]] = deque()
        self._warned: set[str] = set()

    def before_train(self, runner: Runner) -> None:
        self._reason = _reason_not_to(runner.model)
        if self._reason:
            runner.logger.info(f'HealthHook does not measure this run: {self._reason}.')
            return
        self._by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        loader = runner.train_dataloader
        self._period = len(loader) if isinstance(loader, Sized) else _PERIOD
        self._batches.clear()
        self._warned.clear()
        self._measured = 0
        self._largest_rate = 0.0
        with whole_weights(runner.model):
            self._weights = _sampled_weights(runner.model)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        if self._reason:
            return
        left = self._period - 1 - (batch_idx if self._by_epoch else runner.iter % self._period)
        # A run may end within an epoch.
        left = min(left, runner.max_iters - 1 - runner.iter)
        batch_size = _size(data_batch)
        wanted = self._images_per_process(batch_size)
        # The last batch of an epoch may be smaller.
        if (left - 1) * batch_size < wanted:
            self._batches.append(data_batch)
            while sum(map(_size, self._batches)) - _size(self._batches[0]) >= wanted:
                self._batches.popleft()
        if left == 0 and not self._by_epoch:
            self._measure(runner, wanted, runner.iter + 1)

    def after_train_epoch(self, runner: Runner) -> None:
        if not self._reason and self._by_epoch and self._batches:
            wanted = self._images_per_process(_size(self._batches[0]))
            self._measure(runner, wanted, runner.epoch + 1)

    def _images_per_process(self, batch_size: int) -> int:
        world_size = get_world_size()
        in_epoch = self._period * batch_size * world_size
        number = min(self.num_images, max(in_epoch // _SHARE, _AT_LEAST))
        return -(-number // world_size)

    def _measure(self, runner: Runner, num_images: int, done: int) -> None:
        started = time.monotonic()
        with whole_weights(runner.model):
            found = measure_health(runner.model, self._batches, num_images)
            weights = _sampled_weights(runner.model)
        self._batches.clear()
        if not found:
            return
        found['weight_change'] = _largest_change(self._weights, weights)
        self._weights = weights
        self._log(runner, found, done, time.monotonic() - started)
        self._measured += 1
        self._warn(runner, found, done)

    def _warn(self, runner: Runner, found: dict[str, float], done: int) -> None:
        rates = [rate for values in runner.optim_wrapper.get_lr().values() for rate in values]
        self._largest_rate = max(self._largest_rate, *rates)
        iterations = runner.iter if self._by_epoch else done
        # The first epoch may be a few steps away from an untrained network.
        if self._measured < 2 or iterations < self.warn_after:
            return
        problems = find_problems(found, max(rates), self._largest_rate)
        if iterations < _OUTPUTS_LATER * self.warn_after:
            for name in ('teacher', 'student'):
                problems.pop(name, None)
        unit = 'epoch' if self._by_epoch else 'iteration'
        for name in problems.keys() - self._warned:
            self._warned.add(name)
            runner.logger.warning(f'{unit} {done}: {problems[name]}')

    def _log(self, runner: Runner, found: dict[str, float], done: int, seconds: float) -> None:
        scalars = {f'health/{name}': value for name, value in found.items()}
        # Not in MMEngine's message hub (0.10.7 and 0.10.12): a resumed run lacks the images before
        # its start, and without these numbers in a checkpoint would warn of each name.
        position = {'epoch': done} if self._by_epoch else {}
        step = runner.iter if self._by_epoch else done
        runner.visualizer.add_scalars(
            {**scalars, **position, 'iter': step},
            step=step,
            file_path=f'{runner.timestamp}.json',
        )
        unit = 'epoch' if self._by_epoch else 'iteration'
        numbers = '  '.join(f'{name}: {value:.4g}' for name, value in found.items())
        runner.logger.info(f'health after {unit} {done}  {numbers}  time: {seconds:.1f} s')


def _reason_not_to(model: nn.Module) -> str | None:
    """Why a model cannot be measured; None if it can."""
    is_known = isinstance(model, DistributedDataParallel) or hasattr(model, 'whole_weights')
    if is_model_wrapper(model) and not is_known:
        return f'{type(model).__name__} keeps parts of the network in other processes'
    algorithm = own_model(model)
    known = registered_pair_losses()
    if not any(cls.__name__ in known for cls in type(algorithm).__mro__):
        return f'it knows {", ".join(sorted(known))}, not {type(algorithm).__name__}'
    return None


def _size(batch: dict[str, Any]) -> int:
    return len(batch['data_samples'])


@torch.no_grad()
def _sampled_weights(model: nn.Module) -> list[Tensor]:
    """Some values of each trained weight matrix, scaled to unit length: (n,) float64."""
    found = []
    for parameter in unwrap_model(model).parameters():
        if parameter.requires_grad and parameter.ndim > 1:
            values = parameter.detach().flatten()[:: -(-parameter.numel() // _SAMPLED)].double()
            found.append(values / values.norm().clamp(min=torch.finfo(values.dtype).tiny))
    # One transfer from the device.
    return list(torch.cat(found).cpu().split([len(values) for values in found])) if found else []


def _largest_change(before: list[Tensor], after: list[Tensor]) -> float:
    # Of directions: weight decay alone shortens a matrix.
    changes = [(new - old).norm().item() for old, new in zip(before, after)]
    return max(changes, default=0.0)
