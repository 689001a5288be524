"""Check that processes that train together get equally many batches of the same sizes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.dist import all_gather_object, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS
from torch import distributed
from torch.utils.data import BatchSampler, DataLoader

from ...models.checks import ViewsError
from ...weights.pretrained_backbone import list_some
from ..runners.cpu_distributed import configured_timeout
from ..runners.seeded_draws import SeededSampler

_IMAGES_IN = 'have different numbers of images in'
_SAME_SIZE = (
    'Gradients are averaged over processes as if all had as many images, and SimCLR joins their '
    'batches: with other sizes results would be wrong.'
)


class LoaderSizes(NamedTuple):
    """Sizes of the batches of a loader as far as they are known in advance, else ``None``."""

    #: Length of the data set, if the processes share one.
    images: int | None
    #: Number of batches in an epoch.
    batches: int | None
    #: Images in all batches but the last, and in the last one.
    batch_size: int | None
    last: int | None


def loader_sizes(loader: DataLoader) -> LoaderSizes:
    """Return the sizes of the batches that the loader of one process is going to give."""
    sampler: Any = loader.sampler
    if isinstance(sampler, SeededSampler):
        sampler = sampler.sampler
    is_share = isinstance(sampler, (DefaultSampler, InfiniteSampler))
    # Both samplers need a length, too.
    images = len(loader.dataset) if is_share else None  # type: ignore[arg-type]
    batches = len(loader) if hasattr(loader.batch_sampler, '__len__') else None
    size = loader.batch_size
    if batches is None or size is None or type(loader.batch_sampler) is not BatchSampler:
        return LoaderSizes(images, batches, None, None)
    last = size
    if not (loader.drop_last or isinstance(sampler, InfiniteSampler)):
        last = len(sampler) - (batches - 1) * size
    return LoaderSizes(images, batches, size, last)


def check_batches(loader: DataLoader) -> None:
    """Check that a loader gives batches, and in all processes as many of the same sizes.

    All processes must call it together, each with its loader.

    Raises:
        ViewsError: In every process, if the lengths of the data sets or the numbers or sizes of
            batches differ, or there are no batches.
    """
    found: list[LoaderSizes] = all_gather_object(loader_sizes(loader))
    way_out = (
        'Use sampler=dict(type="DefaultSampler"), which with round_up=True, its default, gives '
        'every process as many images, by repeating some; or set train_dataloader.drop_last=True '
        'if only the last batch differs.'
    )
    images, batches, sizes, lasts = zip(*found)
    _check_same(
        images,
        'see data sets of different lengths: {} images. They share one data set by the indices of '
        'its images, so all need the same files: compare train_dataloader.dataset.data_root on the '
        'machines.',
    )
    _check_same(
        batches,
        'have different numbers of batches in an epoch: {}. Those with more would wait for the '
        f'others for ever. {way_out}',
    )
    if batches[0] == 0:
        raise ViewsError(
            f'an epoch has no batch: {images[0]} images for {len(found)} process(es) with '
            f'train_dataloader.batch_size={loader.batch_size} and drop_last={loader.drop_last}. '
            'Lower the batch size, set train_dataloader.drop_last=False, or give more images.'
        )
    _check_same(sizes, f'{_IMAGES_IN} batches: {{}}. {_SAME_SIZE} {way_out}')
    _check_same(lasts, f'{_IMAGES_IN} the last batch of an epoch: {{}}. {_SAME_SIZE} {way_out}')


def _check_same(numbers: Sequence[int | None], difference: str) -> None:
    """Raise a ``ViewsError`` if the numbers of the processes, ``{}`` in its text, differ."""
    ranks: dict[int | None, list[str]] = defaultdict(list)
    for rank, number in enumerate(numbers):
        ranks[number].append(str(rank))
    if len(ranks) > 1:
        found = [f'{number} on rank(s) {list_some(own, 8)}' for number, own in ranks.items()]
        raise ViewsError(f'the processes {difference.format(", ".join(found))}')


@HOOKS.register_module()
class EqualBatchesHook(Hook):
    """Ends a run of several processes whose batches differ in number or size.

    Acts before training, see :func:`check_batches`. Only with a custom batch sampler, whose batch
    sizes are unknown before, it also compares the sizes in every iteration, between the hosts,
    without waiting for a GPU. For the timeout see :func:`prepare_cpu_distributed`.

    Raises:
        ViewsError: In every process, if the batches differ.
    """

    # Ahead of the hooks that look at a batch.
    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        loader = runner.train_loop.dataloader
        check_batches(loader)
        self._group: distributed.ProcessGroup | None = None
        if get_world_size() > 1 and loader_sizes(loader).batch_size is None:
            # The default group may use NCCL, which needs tensors on GPUs.
            timeout = configured_timeout(runner.cfg)
            self._group = distributed.new_group(backend='gloo', timeout=timeout)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if self._group is None:
            return
        sampler = type(runner.train_loop.dataloader.batch_sampler).__name__
        _check_same(
            all_gather_object(len(data_batch['data_samples']), self._group),
            f'{_IMAGES_IN} batch {batch_idx}: {{}}. {_SAME_SIZE} They come from {sampler}, '
            'train_dataloader.batch_sampler: let it give all processes the same number.',
        )
