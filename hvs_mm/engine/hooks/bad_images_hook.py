"""Report the images that the loader had to skip, and stop a run with too many of them."""

from __future__ import annotations

import os.path as osp
from collections.abc import Iterator
from typing import Any

from mmengine.dataset import ClassBalancedDataset, ConcatDataset, RepeatDataset
from mmengine.dist import all_gather_object, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmpretrain.registry import HOOKS

from ...utils.arguments import check_share, check_whole
from ...utils.bad_images import SKIPPED_FIELD, BadImage, BadImagesError, describe
from ..runners.seeded_draws import SeededDataset

#: Name of the counts in the message hub, which checkpoints contain.
_STATE = 'bad_images'
_LIST = 'bad_images.txt'


@HOOKS.register_module()
class BadImagesHook(Hook):
    """Warns of images that ``LoadCheckedImage`` skipped, counts them, and ends a run with too many.

    Acts after every training iteration. Several processes share their bad images after ``interval``
    iterations, at the end of an epoch and before a checkpoint of ``ReliableRunner``, so that they
    warn once and end together. Workers read ahead: a bad image is reported with the next good one.

    The log names every bad file once, up to ``max_lines``; ``bad_images.txt`` next to the log lists
    all of them with the reasons. ``train/bad_images`` is the number of bad files of the run so far.
    The counts are saved in checkpoints, and a resumed run continues them.

    The run ends as soon as more than ``max(1, max_share * N)`` of the ``N`` images of the data set
    were bad within one pass, or any with ``max_share=0``. A pass is as many images as the data set
    has. Each pass starts from 0, so that passing faults, such as those of a file server, do not add
    up over a long run. It does not start if damaged tar shards have lost more than that.

    Args:
        max_share: Share of the images that may be bad, in [0, 1].
        interval: Iterations between two exchanges of several processes.
        max_lines: Number of files that the log names.

    Raises:
        ValueError: If an argument is out of range.
        BadImagesError: While training, if too many images are bad.
    """

    def __init__(self, max_share: float = 0.01, interval: int = 50, max_lines: int = 20) -> None:
        self.max_share = check_share('max_share', max_share, hint='the share of bad images.')
        self.interval = check_whole('interval', interval)
        self.max_lines = check_whole('max_lines', max_lines, least=0)
        self._seen = 0

    def before_train(self, runner: Runner) -> None:
        dataset = runner.train_dataloader.dataset
        self._images = count_images(dataset)
        self._check_shards(runner, dataset)
        # A wrapper may repeat images.
        self._pass_length = len(dataset)
        self._by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        # Only a resumed run continues the counts: the hub may hold those of another run.
        known = runner.message_hub.get_info(_STATE) if runner.iter else None
        # The images seen so far, and for each bad file the last pass in which it was bad.
        self._state = known or {'seen': 0, 'files': {}}
        self._seen = 0
        self._skipped: list[BadImage] = []

    def _check_shards(self, runner: Runner, dataset: Any) -> None:
        """Warn of damaged shards, whose lost images are bad ones."""
        found = [part.damaged for part in _inner(dataset) if getattr(part, 'damaged', None)]
        shards, lost = [path for paths, _ in found for path in paths], sum(n for _, n in found)
        if not shards:
            return
        more = f' and {len(shards) - 1} more' if shards[1:] else ''
        text = f'damaged shards: {shards[0]}{more}; about {lost} images of them are lost'
        if lost > self._allowed(self._images + lost):
            raise BadImagesError(
                f'{text}, and {self._images} are left: more than max_share={self.max_share:g} of '
                'BadImagesHook allows. Fetch them again, name the whole ones only, or allow more '
                'with --cfg-options default_hooks.bad_images.max_share='
                f'{min(1.0, 2 * lost / (self._images + lost)):.2g}.'
            )
        runner.logger.warning(f'{text}.')

    def _allowed(self, images: int) -> float:
        """Bad images of so many with which a run goes on."""
        return max(1, self.max_share * images) if self.max_share else 0

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        samples = data_batch['data_samples']
        self._seen += len(samples)
        for sample in samples:
            self._skipped.extend(sample.get(SKIPPED_FIELD, ()))
        if (
            get_world_size() == 1
            or (self._by_epoch and self.end_of_epoch(runner.train_dataloader, batch_idx))
            or self.every_n_inner_iters(batch_idx, self.interval)
            or self.is_last_train_iter(runner)
        ):
            self._update(runner)

    def before_checkpoint(self, runner: Runner) -> None:
        """Add the images since the last exchange to the checkpoint."""
        # In all processes or in none.
        if self._seen:
            self._update(runner)

    def _update(self, runner: Runner) -> None:
        parts = all_gather_object((self._seen, self._skipped))
        self._seen, self._skipped = 0, []
        skipped = [image for _, part in parts for image in part]
        files = self._state['files']
        current = self._state['seen'] // self._pass_length
        self._state['seen'] += sum(seen for seen, _ in parts)
        new: dict[str, BadImage] = {}
        for image in skipped:
            if image.path not in files:
                new.setdefault(image.path, image)
        if new:
            self._report(runner, list(new.values()))
        files.update(dict.fromkeys((image.path for image in skipped), current))
        if files:
            runner.message_hub.update_scalar('train/bad_images', len(files))
        runner.message_hub.update_info(_STATE, self._state)
        found = sum(last == current for last in files.values()) if skipped else 0
        if found > self._allowed(self._images):
            raise BadImagesError(
                f'{found} of {self._images} training images are bad, more than max_share='
                f'{self.max_share:g} of BadImagesHook allows. The last: {describe(skipped)}. All '
                f'are listed in {osp.join(runner.log_dir, _LIST)}: replace them, take them out of '
                'the data set, or allow more with --cfg-options default_hooks.bad_images.max_share='
                f'{min(1.0, 2 * found / self._images):.2g}.'
            )

    def _report(self, runner: Runner, new: list[BadImage]) -> None:
        path = osp.join(runner.log_dir, _LIST)
        if is_main_process():
            with open(path, 'a', encoding='utf-8') as file:
                file.writelines(f'{image.path}\t{image.reason}\n' for image in new)
        for number, image in enumerate(new, len(self._state['files']) + 1):
            if number <= self.max_lines:
                runner.logger.warning(f'bad image {number}, skipped: {image.path}: {image.reason}')
            elif number == self.max_lines + 1:
                runner.logger.warning(
                    f'bad image {number}: this one and those to come are named in {path}, and '
                    'counted in the log as bad_images'
                )


def count_images(dataset: Any) -> int:
    """Count the images of a built data set, without the repeats of MMEngine's wrappers."""
    return sum(map(len, _inner(dataset)))


def _inner(dataset: Any) -> Iterator[Any]:
    """The data sets within MMEngine's wrappers."""
    if isinstance(dataset, ConcatDataset):
        for part in dataset.datasets:
            yield from _inner(part)
    elif isinstance(dataset, (RepeatDataset, ClassBalancedDataset, SeededDataset)):
        yield from _inner(dataset.dataset)
    else:
        yield dataset
