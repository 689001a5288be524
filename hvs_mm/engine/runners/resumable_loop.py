"""A loop over epochs that a run can be killed in and resumed without a difference."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import islice
from math import ceil
from typing import Any

from mmengine.dist import broadcast_object_list, get_world_size
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmpretrain.registry import LOOPS
from torch.utils.data import DataLoader

from .loader_workers import within_timeout
from .seeded_draws import SeededDataset, SeededSampler, seed_all

#: Sizes of the run in MMEngine's hub.
_SIZES = 'loader_sizes'
#: Variable that ends every epoch after so many steps, to try commands out quickly.
SHORTENED = 'HVS_MM_STEPS_PER_EPOCH'


@LOOPS.register_module()
class ResumableEpochLoop(EpochBasedTrainLoop):
    """MMEngine's loop over epochs, which resumes after the iteration that a checkpoint is from.

    MMEngine's own loop restarts the epoch and draws other random numbers. Here the order of the
    images depends on the seed of the run and the epoch; the views of an image on these and its
    position in the epoch; and what a model draws, such as stochastic depth, on the seed and the
    iteration. So a killed and resumed run gives bit for bit the results of an uninterrupted one.

    With a batch sampler, ``num_batch_per_epoch``, or a data set, sampler or loader that is passed
    as an object, views and other random numbers of a worker are drawn differently after a resume.
    The images of the epoch that were seen are read again and dropped. The remaining ones are
    right if the order is the same: a sampler given by settings has the seed of the run, or its own
    if the settings have one; one passed as an object must reproduce its order itself.

    Args:
        runner, dataloader, **kwargs: As for ``EpochBasedTrainLoop``.
        max_iters: Iterations after which the run ends, also within its last epoch. By default all
            of ``max_epochs``.

    Raises:
        ValueError: If ``max_iters`` does not end within the last epoch.
    """

    # Of the base class, which has no types.
    _iter: int
    _max_iters: int

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict[str, Any],
        *,
        max_iters: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(runner, _seeded(runner, dataloader), **kwargs)
        if max_iters is not None:
            length = len(self.dataloader)
            if not self._max_iters - length < max_iters <= self._max_iters:
                raise ValueError(
                    f'train_cfg.max_iters={max_iters} must end within the last epoch, after '
                    f'{self._max_iters - length} and at most {self._max_iters} iterations: there '
                    f'are {length} in an epoch, so set '
                    f'train_cfg.max_epochs={ceil(max_iters / max(length, 1))}.'
                )
            self._max_iters = max_iters
        self._max_steps = int(os.environ.get(SHORTENED, 0))
        sampler = getattr(self.dataloader, 'sampler', None)
        self._sampler = sampler if isinstance(sampler, SeededSampler) else None
        settings = dataloader.get('sampler') if isinstance(dataloader, dict) else None
        # Whether another sampler needs the seed of the run.
        self._needs_seed = isinstance(settings, dict) and settings.get('seed') is None

    def run(self) -> Any:
        """Train, from the position of the checkpoint."""
        if self._iter:
            self._adapt_to_length()
        self._compare_sizes()
        # A checkpoint has restored the seed of its run.
        seed = _common_seed(self.runner)
        if self._sampler is not None:
            self._sampler.set_seed(seed)
        elif self._needs_seed:
            # A batch sampler may wrap the sampler.
            batches = self.dataloader.batch_sampler
            for sampler in (self.dataloader.sampler, getattr(batches, 'sampler', None)):
                if sampler is not None and getattr(sampler, 'seed', None) is not None:
                    sampler.seed = seed
        was_over = 0 < self._max_epochs <= self._epoch
        model = super().run()
        if was_over and self.runner.val_loop is not None and self._epoch >= self.val_begin:
            # The last checkpoint is saved before the last validation, which may have been killed.
            self.runner.val_loop.run()
        return model

    def _compare_sizes(self) -> None:
        """Warn if a resumed run has other processes, batches or images than the saved one."""
        dataset, hub = self.dataloader.dataset, self.runner.message_hub
        now = {
            'processes': get_world_size(),
            'images a process and step': getattr(self.dataloader, 'batch_size', None),
            'images': len(dataset) if hasattr(dataset, '__len__') else None,
        }
        saved = hub.runtime_info.get(_SIZES) if self._iter else None
        hub.update_info(_SIZES, now)
        if not isinstance(saved, dict):
            return
        changed = [name for name, size in now.items() if saved.get(name, size) != size]
        if changed:
            texts = [f'{saved[name]} {name} (now {now[name]})' for name in changed]
            self.runner.logger.warning(
                f'The checkpoint is of a run with {", ".join(texts)}: from here on batches hold '
                'other images, or are divided otherwise, and losses differ from those of the '
                'first run.'
            )

    def _adapt_to_length(self) -> None:
        """Find the position in an epoch that had another number of batches before the resume."""
        info = self.runner.message_hub.runtime_info
        if (info.get('max_epochs'), info.get('max_iters')) == (self._max_epochs, self._max_iters):
            return
        length, saved = len(self.dataloader), self._saved_length()
        if saved == length:
            return
        done = (self._iter - self._epoch * saved) * length // saved
        self._iter = self._epoch * length + done
        # The Runner has set the iteration of the checkpoint, and accumulation counts by it.
        self.runner.optim_wrapper.initialize_count_status(
            self.runner.model, self._iter, self._max_iters
        )
        self.runner.logger.warning(
            f'The checkpoint is of a run with {saved} batches in an epoch; with {length}, as now, '
            f'it continues with iteration {self._iter + 1}. Batches hold other images, and '
            'schedules by iteration are those of the first run.'
        )

    def _saved_length(self) -> int:
        """The number of batches in an epoch of the run that the checkpoint is from."""
        info = self.runner.message_hub.runtime_info
        if info.get('max_epochs') and info.get('max_iters'):
            # Of the saved run, whatever its loop: MMEngine's hook sets the new values later.
            length = info['max_iters'] // info['max_epochs']
            if 0 <= self._iter - self._epoch * length <= length:
                return length
        # MMEngine's loop restarts a resumed epoch without changing its count of iterations.
        return self._iter // max(self._epoch, 1)

    def run_epoch(self) -> None:
        """Train for an epoch, or for the rest of it."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        done = self._iter - self._epoch * len(self.dataloader)
        batches = within_timeout(self.dataloader, getattr(self.dataloader, 'timeout', 0))
        if self._sampler is None:
            batches = islice(enumerate(batches), done, None)
        else:
            self._sampler.start = done * self.dataloader.batch_size
            batches = enumerate(batches, done)
        for number, batch in batches:
            self.run_iter(number, batch)
            if self._iter >= self._max_iters or number + 1 == self._max_steps:
                break
        if self._max_steps:
            # A shortened epoch counts as a whole one.
            self._iter = min((self._epoch + 1) * len(self.dataloader), self._max_iters)
        if self._sampler is not None:
            self._sampler.start = 0
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def run_iter(self, idx: int, data_batch: Sequence[dict]) -> None:
        seed_all(self.runner.seed, self._iter)
        super().run_iter(idx, data_batch)


def _seeded(runner: Runner, loader: DataLoader | dict[str, Any]) -> DataLoader | dict[str, Any]:
    """Wrap the data set and the sampler in the settings of a loader, where that is possible."""
    if not isinstance(loader, dict):
        return loader
    is_built = not all(isinstance(loader.get(key), dict) for key in ('dataset', 'sampler'))
    if is_built or loader.get('batch_sampler') or loader.get('num_batch_per_epoch'):
        return loader
    # MMEngine builds them. It copies objects, which may fail for open files or double the memory.
    return dict(
        loader,
        dataset=dict(type=SeededDataset, dataset=loader['dataset']),
        sampler=dict(type=SeededSampler, sampler=loader['sampler'], seed=_common_seed(runner)),
    )


def _common_seed(runner: Runner) -> int:
    """The seed of the first process, in all processes."""
    seed = [runner.seed]
    broadcast_object_list(seed)
    return seed[0]
