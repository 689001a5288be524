"""Epochs that a run can be killed in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.dist import broadcast_object_list
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmpretrain.registry import LOOPS
from torch.utils.data import DataLoader

from .seeded_draws import SeededDataset, SeededSampler, seed_all


@LOOPS.register_module()
class ResumableEpochLoop(EpochBasedTrainLoop):
    """MMEngine's loop over epochs, which goes on after the iteration a checkpoint was saved at.

    MMEngine's own begins the epoch anew and draws other random numbers. Here the order of the
    images depends on the seed of the run and the epoch, the views of an image on these and its
    place in the epoch, and what a model draws, such as stochastic depth, on the seed and the
    iteration. So a run that was killed gives, bit for bit, what it would have given.

    With a batch sampler, ``num_batch_per_epoch``, or a data set, sampler or loader that is given as
    an object, views and what else is random in a worker are drawn anew. The images of the epoch
    that were seen are read once more and passed over. Those that are left are the right ones if the
    order is the same: a sampler that is given by settings has that of the seed of the run, or of
    its own if they name one; one that is given as an object must see to it.

    Args:
        runner: Of the run.
        dataloader: The settings of the loader, or one.
        **kwargs: As for :class:`mmengine.runner.EpochBasedTrainLoop`.
    """

    def __init__(self, runner: Runner, dataloader: DataLoader | dict[str, Any], **kwargs: Any):
        super().__init__(runner, _seeded(runner, dataloader), **kwargs)
        sampler = getattr(self.dataloader, 'sampler', None)
        self._sampler = sampler if isinstance(sampler, SeededSampler) else None
        settings = dataloader.get('sampler') if isinstance(dataloader, dict) else None
        # Of the sampler that gives the order, if nothing says which.
        self._seed_is_open = isinstance(settings, dict) and settings.get('seed') is None

    def run(self) -> Any:
        """Train, from where a checkpoint has left off."""
        if self._iter:
            self._adapt_to_length()
        # A checkpoint has brought the seed of its run.
        seed = _common_seed(self.runner)
        if self._sampler is not None:
            self._sampler.set_seed(seed)
        elif self._seed_is_open:
            # A batch sampler may have the other one inside.
            batches = self.dataloader.batch_sampler
            for sampler in (self.dataloader.sampler, getattr(batches, 'sampler', None)):
                if getattr(sampler, 'seed', None) is not None:
                    sampler.seed = seed
        was_over = 0 < self._max_epochs <= self._epoch
        model = super().run()
        if was_over and self.runner.val_loop is not None and self._epoch >= self.val_begin:
            # The last checkpoint is saved before the last validation, which may have been broken
            # off.
            self.runner.val_loop.run()
        return model

    def _adapt_to_length(self) -> None:
        """Find the place in the epoch, of a run that had other batches or processes before."""
        length, saved = len(self.dataloader), self._length_before()
        if saved == length:
            return
        done = (self._iter - self._epoch * saved) * length // saved
        self._iter = self._epoch * length + done
        # The Runner has told it the number of the checkpoint: gradients are accumulated by it.
        self.runner.optim_wrapper.initialize_count_status(
            self.runner.model, self._iter, self._max_iters
        )
        self.runner.logger.warning(
            f'The checkpoint is of a run with {saved} batches in an epoch; with {length}, as now, '
            f'it goes on with iteration {self._iter + 1}. Other images are in a batch, and '
            'schedules by iteration are those of the run that was begun.'
        )

    def _length_before(self) -> int:
        """The number of batches in an epoch of the run that the checkpoint is of."""
        known = self.runner.message_hub.runtime_info
        if known.get('max_epochs') and known.get('max_iters'):
            # Of that run still, whichever loop it had: MMEngine's hook is yet to tell those of now.
            length = known['max_iters'] // known['max_epochs']
            if 0 <= self._iter - self._epoch * length <= length:
                return length
        # MMEngine's loop counts on from a checkpoint in an epoch, which it begins anew.
        return self._iter // max(self._epoch, 1)

    def run_epoch(self) -> None:
        """Train for an epoch, or for what is left of it."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        done = self._iter - self._epoch * len(self.dataloader)
        if self._sampler is not None:
            self._sampler.start = done * self.dataloader.batch_size
            batches = enumerate(self.dataloader, done)
        else:
            batches = (item for item in enumerate(self.dataloader) if item[0] >= done)
        for number, batch in batches:
            self.run_iter(number, batch)
        if self._sampler is not None:
            self._sampler.start = 0
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def run_iter(self, idx: int, data_batch: Sequence[dict]) -> None:
        """Train with a batch."""
        seed_all(self.runner.seed, self._iter)
        super().run_iter(idx, data_batch)


def _seeded(runner: Runner, loader: DataLoader | dict[str, Any]) -> DataLoader | dict[str, Any]:
    """The settings of a loader, with its data set and its sampler wrapped."""
    if not isinstance(loader, dict) or not all(
        isinstance(loader.get(key), dict) for key in ('dataset', 'sampler')
    ):
        return loader
    if loader.get('batch_sampler') or loader.get('num_batch_per_epoch'):
        return loader
    # Built by MMEngine, as any other: it copies what it is given, and that may not be possible with
    # a data set that is already there, with its files open, or take as much memory again.
    return dict(
        loader,
        dataset=dict(type=SeededDataset, dataset=loader['dataset']),
        sampler=dict(type=SeededSampler, sampler=loader['sampler'], seed=_common_seed(runner)),
    )


def _common_seed(runner: Runner) -> int:
    """The seed that all processes have in common: the first one's."""
    seed = [runner.seed]
    broadcast_object_list(seed)
    return seed[0]
