"""Checks of settings, and of the batches that the loader gives."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from mmengine.dist import get_world_size
from torch import Tensor, nn
from torch.nn.modules.batchnorm import SyncBatchNorm, _BatchNorm

from ..utils.arguments import is_list, is_whole


class ViewsError(ValueError):
    """The output of the loader does not fit the algorithm."""


def check_views(views: Any, candidates: Sequence[int], dtype: torch.dtype | None = None) -> None:
    """Check that the loader gives one batch (B, 3, H, W) per candidate view.

    The views of a group have one size, and all have a dtype that the algorithm's weights, of type
    ``dtype``, take. Under autocast this is any type that it casts.

    Raises:
        TypeError: If they are no list of tensors.
        ViewsError: If they are not as described.
    """
    way_out = (
        "draw them with dict(type='CandidateViews', transforms=[...], "
        f'num_views={list(candidates)}) in the pipeline of train_dataloader.dataset'
    )
    if not is_list(views) or not all(isinstance(view, Tensor) for view in views):
        raise TypeError(
            f'HVSAlgorithm needs a list of one tensor per candidate view, the loader gives '
            f'{type(views).__name__}: {way_out}, and use collate_fn=dict(type="default_collate").'
        )
    if len(views) != sum(candidates):
        raise ViewsError(
            f'the loader gives {len(views)} views per image, but candidates={list(candidates)} '
            f'needs {sum(candidates)}: {way_out}.'
        )
    for group, (count, end) in enumerate(zip(candidates, accumulate(candidates))):
        shapes = {tuple(view.shape) for view in views[end - count : end]}
        if len(shapes) > 1:
            raise ViewsError(
                f'the views of group {group} (candidates={list(candidates)}) differ in shape: '
                f'{sorted(shapes)}. One pipeline must give views of one size; put views of '
                'another size into a group of their own.'
            )
    shape = tuple(views[0].shape)
    for position, view in enumerate(views):
        if view.ndim != 4 or view.shape[:2] != views[0].shape[:2] or 0 in view.shape:
            raise ViewsError(
                f'view {position} has shape {tuple(view.shape)}, the first one {shape}: every view '
                'must be a batch of images (B, 3, H, W) with at least one sample and one pixel, '
                'and all of the same B. Pack the views with PackViews, and use '
                'collate_fn=dict(type="default_collate").'
            )
        casts = torch.is_autocast_enabled(view.device.type)
        accepted = {dtype, torch.float32, torch.float16, torch.bfloat16} if casts else {dtype}
        if dtype is not None and view.dtype not in accepted:
            raise ViewsError(
                f'view {position} is {view.dtype}, the weights of the algorithm are {dtype}: use a '
                "data_preprocessor such as dict(type='SelfSupDataPreprocessor', ...), which gives "
                'float32, or convert the views.'
            )


def check_samples(data_samples: Any, batch_size: int) -> None:
    """Raise ``TypeError`` or ``ViewsError`` unless there is one data sample per image, or none."""
    if data_samples is None:
        return
    if not is_list(data_samples):
        raise TypeError(
            f'data_samples is a {type(data_samples).__name__}, it must be a list of one data '
            'sample per image, or None: pack the views with PackViews.'
        )
    if len(data_samples) != batch_size:
        raise ViewsError(
            f'there are {len(data_samples)} data samples for {batch_size} images: pack the views '
            'with PackViews, which gives one per image.'
        )


def check_batch_size(algorithm: nn.Module, batch_size: int) -> None:
    """Raise ``ViewsError`` about a batch that the training step cannot take.

    That is one that does not fit into the queue of MoCo or DenseCL, or of a single sample, which
    KoLeo would have to compare with others, or BatchNorm in train mode to normalize. Selection
    forwards all candidates of a batch together and would not notice; the training step after it, or
    the statistics it would use, would be meaningless.
    """
    length, joint = getattr(algorithm, 'queue_len', None), batch_size * get_world_size()
    if length is not None and length % joint:
        raise ViewsError(
            f'model.algorithm.queue_len={length} is no multiple of the {joint} images of a step of '
            'all processes, which replace as many keys of the queue: change it or '
            'train_dataloader.batch_size, and set train_dataloader.drop_last=True.'
        )
    if batch_size > 1:
        return
    if getattr(getattr(algorithm, 'head', None), 'koleo_weight', 0):
        raise ViewsError(
            f'batch size 1 with KoLeo ({type(algorithm).__name__}), which compares each image with '
            'the nearest other one of its process: raise train_dataloader.batch_size, set '
            'train_dataloader.drop_last=True if this is the rest of an epoch, or set '
            'koleo_weight=0 of the head.'
        )
    for name, module in algorithm.named_modules():
        synchronized = isinstance(module, SyncBatchNorm) and get_world_size() > 1
        if isinstance(module, _BatchNorm) and module.training and not synchronized:
            raise ViewsError(
                f'batch size 1 with BatchNorm ({type(algorithm).__name__}, layer {name!r}): its '
                'statistics need at least 2 samples. Raise train_dataloader.batch_size, set '
                'train_dataloader.drop_last=True if this is the rest of an epoch, or use '
                'SyncBN on several processes.'
            )


class FiniteViewsCheck:
    """Raises about NaN or infinite pixels without making the host wait for the device.

    Immediately on the CPU. On a GPU the answer for one batch is read when the next one comes, or
    before a checkpoint is saved: it has been computed by then, and reading it stalls nothing.
    """

    def __init__(self) -> None:
        self._pending: tuple[Tensor, torch.cuda.Event, Sequence[Any] | None] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A copied or pickled model does not answer for batches of the original.
        return {'_pending': None}

    @torch.compiler.disable
    def __call__(self, views: Sequence[Tensor], data_samples: Sequence[Any] | None) -> None:
        """Raise ``ViewsError`` about a view (B, 3, H, W), on a GPU about one of the batch before.

        The data samples name the images by their path.
        """
        self.flush()
        # The sum of a view is finite only if all its pixels are: (S, B)
        sums = [view.flatten(1).sum(1, dtype=torch.float32) for view in views]
        flags = torch.stack(sums).isfinite()
        if flags.device.type != 'cuda':
            _raise_unless_finite(flags, data_samples)
            return
        host = torch.empty(flags.shape, dtype=flags.dtype, pin_memory=True)
        host.copy_(flags, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self._pending = (host, event, data_samples)

    def flush(self) -> None:
        """Raise ``ViewsError`` about the last batch on a GPU if it was not finite."""
        if self._pending is not None:
            flags, event, samples = self._pending
            self._pending = None
            event.synchronize()
            _raise_unless_finite(flags, samples, ' of the batch before this one')


def _raise_unless_finite(flags: Tensor, data_samples: Any, which_batch: str = '') -> None:
    if flags.all():
        return
    bad = (~flags).nonzero().tolist()
    view, sample = bad[0]
    path = getattr(data_samples[sample], 'img_path', None) if data_samples else None
    raise ViewsError(
        f'{len(bad)} candidate view(s) hold NaN or infinite pixels, the first: view {view} of '
        f'sample {sample}{which_batch}' + (f' ({path})' if path else '') + '. Selection would '
        'avoid it, but batch statistics spread it to the whole batch. Check this image and the '
        'transforms of CandidateViews; data_preprocessor must not divide by a std of 0.'
    )


def count_target_groups(target_groups: Sequence[int] | None, num_groups: int) -> int | None:
    """The number of target groups that a config names; ``None`` if the sizes of the views decide.

    Raises ``TypeError`` unless the setting is a list, and ``ValueError`` unless it is [0, 1, ...].
    """
    if target_groups is None:
        return None
    if not is_list(target_groups):
        raise TypeError(
            f'target_groups={target_groups!r} must be a list of the first groups, [0], [0, 1], '
            '..., or None for those whose views have the size of the first.'
        )
    count = len(target_groups)
    are_first = all(is_whole(n) for n in target_groups) and list(target_groups) == [*range(count)]
    if not are_first or not 1 <= count <= num_groups:
        raise ValueError(
            f'target_groups={list(target_groups)} must name the first groups in order, [0], '
            f'[0, 1], ..., of the {num_groups} there are. Reorder the pipelines of '
            'CandidateViews so that the target groups come first.'
        )
    return count
