"""Batches of processes that train together: the same number, of the same size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.dist import all_gather_object, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS
from torch import distributed
from torch.utils.data import BatchSampler, DataLoader

from ...models.checks import ViewsError
from ..runners.cpu_distributed import configured_timeout
from ..runners.seeded_draws import SeededSampler


@dataclass(frozen=True)
class LoaderSizes:
    """What a process knows of its batches before it has seen any; ``None`` for what it does not.

    Attributes:
        images: Length of the data set, where each process takes its share of a common one.
        batches: Number of batches in an epoch.
        batch_size: Images in all batches but the last.
        last: Images in the last batch.
    """

    images: int | None
    batches: int | None
    batch_size: int | None
    last: int | None


def loader_sizes(loader: DataLoader) -> LoaderSizes:
    """Read off what the batches of a loader will be.

    Args:
        loader: Of a single process.
    """
    sampler = loader.sampler
    if isinstance(sampler, SeededSampler):
        sampler = sampler.sampler
    is_share = isinstance(sampler, (DefaultSampler, InfiniteSampler))
    images = len(loader.dataset) if is_share else None
    batches = len(loader) if hasattr(loader.batch_sampler, '__len__') else None
    if batches is None or type(loader.batch_sampler) is not BatchSampler:
        return LoaderSizes(images, batches, None, None)
    size, last = loader.batch_size, loader.batch_size
    if not (loader.drop_last or isinstance(sampler, InfiniteSampler)):
        last = len(sampler) - (batches - 1) * size
    return LoaderSizes(images, batches, size, last)


def check_batches(loader: DataLoader) -> None:
    """Check that a loader gives batches, and all processes as many, of the same sizes.

    To be called by all processes at the same time; none trains on if another cannot.

    Args:
        loader: That of this process.

    Raises:
        ViewsError: In every process, if they see data sets of different lengths, or have different
            numbers or sizes of batches, or none at all.
    """
    found: list[LoaderSizes] = all_gather_object(loader_sizes(loader))
    way_out = (
        'Use sampler=dict(type="DefaultSampler"), which with round_up=True, its default, gives '
        'every process as many images, by repeating some; or set train_dataloader.drop_last=True '
        'if only the last batch differs.'
    )
    if len({sizes.images for sizes in found}) > 1:
        raise ViewsError(
            f'the processes see data sets of different lengths: {_by_rank(found, "images")} '
            'images. They share out one data set by the numbers of its images, so all need the '
            'same files: compare train_dataloader.dataset.data_root on the machines.'
        )
    if len({sizes.batches for sizes in found}) > 1:
        raise ViewsError(
            'the processes have different numbers of batches in an epoch: '
            f'{_by_rank(found, "batches")}. Those with more would wait for the others for ever. '
            f'{way_out}'
        )
    if found[0].batches == 0:
        raise ViewsError(
            f'an epoch has no batch: {found[0].images} images for {len(found)} process(es) with '
            f'train_dataloader.batch_size={loader.batch_size} and drop_last={loader.drop_last}. '
            'Lower the batch size, set train_dataloader.drop_last=False, or give more images.'
        )
    for name, which in (('batch_size', 'batches'), ('last', 'the last batch of an epoch')):
        if len({getattr(sizes, name) for sizes in found}) > 1:
            raise ViewsError(
                f'the processes have different numbers of images in {which}: '
                f'{_by_rank(found, name)}. {_EQUAL} {way_out}'
            )


#: Why batches must be of one size.
_EQUAL = (
    'Gradients are averaged over processes as if all had as many images, and SimCLR joins their '
    'batches: with other sizes results would be wrong.'
)


def _by_rank(found: list[LoaderSizes], name: str) -> str:
    """The numbers of all processes, those of one number together: many have the same."""
    ranks: dict[Any, list[int]] = {}
    for rank, sizes in enumerate(found):
        ranks.setdefault(getattr(sizes, name), []).append(rank)
    return ', '.join(f'{number} on rank(s) {_some(own)}' for number, own in ranks.items())


def _some(ranks: list[int]) -> str:
    shown = ', '.join(map(str, ranks[:8]))
    return shown if len(ranks) <= 8 else f'{shown} and {len(ranks) - 8} more'


@HOOKS.register_module()
class EqualBatchesHook(Hook):
    """Ends a run of several processes whose batches would not fit together.

    Acts before training, see :func:`check_batches`. Where a batch sampler of one's own leaves open
    how large batches will be, it also compares their sizes in every iteration, between the hosts:
    no GPU is waited for, and a process that does not come for ``env_cfg.dist_cfg.timeout`` seconds,
    600 by default, ends the others. With torch's own batch sampler nothing is left to do in an
    iteration.

    Raises:
        ViewsError: In every process, if the batches differ.
    """

    # Ahead of the hooks that look at a batch.
    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        loader = runner.train_loop.dataloader
        check_batches(loader)
        self._group: distributed.ProcessGroup | None = None
        self._is_open = get_world_size() > 1 and loader_sizes(loader).batch_size is None
        if self._is_open:
            # The processes may talk over NCCL, which knows only tensors on GPUs.
            self._group = distributed.new_group(
                backend='gloo', timeout=configured_timeout(runner.cfg)
            )

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict[str, Any] | None = None
    ) -> None:
        if not self._is_open:
            return
        own = torch.tensor([len(data_batch['data_samples'])])
        found = [torch.empty_like(own) for _ in range(get_world_size())]
        distributed.all_gather(found, own, group=self._group)
        sizes = torch.cat(found).tolist()
        if len(set(sizes)) > 1:
            found = [LoaderSizes(None, None, size, None) for size in sizes]
            raise ViewsError(
                f'the processes have different numbers of images in batch {batch_idx}: '
                f'{_by_rank(found, "batch_size")}. {_EQUAL} They come from '
                f'{type(runner.train_loop.dataloader.batch_sampler).__name__}, '
                'train_dataloader.batch_sampler: let it give all processes the same number.'
            )
