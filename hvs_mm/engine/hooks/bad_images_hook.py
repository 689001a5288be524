"""What becomes of images that the loader had to skip."""

from __future__ import annotations

import os.path as osp
from typing import Any

import torch
from mmengine.dataset import ClassBalancedDataset, ConcatDataset, RepeatDataset
from mmengine.dist import all_gather_object, all_reduce, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmpretrain.registry import HOOKS

from ...utils.bad_images import SKIPPED_FIELD, BadImage, BadImagesError, describe
from ..runners.seeded_draws import SeededDataset

#: Under which the hub, which goes into checkpoints, has the counts.
_STATE = 'bad_images'
_LIST = 'bad_images.txt'


@HOOKS.register_module()
class BadImagesHook(Hook):
    """Warns of images that ``LoadCheckedImage`` skipped, counts them, and ends a run with too many.

    Acts after every training iteration; with several processes after every ``interval`` iterations,
    at the end of an epoch and before a checkpoint of ``ReliableRunner``, when all of them exchange
    what they met, so that they warn once and end together. A worker reads ahead: what it meets is
    told with the next good image that it gives.

    The log names every bad file once, up to ``max_lines``; all are listed, with what is wrong with
    them, in ``bad_images.txt`` beside the log. ``train/bad_images`` is how many files of the run
    have been bad so far. The counts go into checkpoints and on in a run that resumes.

    The rule: the run ends as soon as more than ``max(1, max_share * N)`` of the ``N`` images of
    the data set have been found bad within one pass, or any with ``max_share=0``. A pass is as many
    images as the data set has; each begins to count anew, so that faults that pass by, such as
    those of a file server, do not add up over a long run. So one bad image never ends a run, nor
    does any number that the share allows, in whatever order the images come. A greater one ends it
    in the first pass, if that draws every image.

    Args:
        max_share: Share of the images that may be bad, in [0, 1].
        interval: Iterations between two exchanges of several processes.
        max_lines: Files that the log names.

    Raises:
        ValueError: If an argument is none of these.
        BadImagesError: While training, if too many images are bad.
    """

    def __init__(self, max_share: float = 0.01, interval: int = 50, max_lines: int = 20) -> None:
        if isinstance(max_share, bool) or not 0 <= max_share <= 1:
            raise ValueError(f'max_share={max_share!r} must be a share of the images, in [0, 1].')
        for name, value, least in (('interval', interval, 1), ('max_lines', max_lines, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f'{name}={value!r} must be an integer, at least {least}.')
        self.max_share = max_share
        self.interval = interval
        self.max_lines = max_lines
        self._seen = 0

    def before_train(self, runner: Runner) -> None:
        dataset = runner.train_dataloader.dataset
        self._images = count_images(dataset)
        # A wrapper may give an image several times.
        self._pass_length = len(dataset)
        self._by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        # Images seen so far, and for each bad file the last pass in which it was bad.
        # A hub may have been another run's of this process: only one that goes on takes it over.
        known = runner.message_hub.get_info(_STATE) if runner.iter else None
        self._state = known or {'seen': 0, 'files': {}}
        self._seen = 0
        self._skipped: list[BadImage] = []

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        samples = data_batch['data_samples']
        self._seen += len(samples)
        for sample in samples:
            self._skipped.extend(sample.get(SKIPPED_FIELD, ()))
        is_end = self._by_epoch and self.end_of_epoch(runner.train_dataloader, batch_idx)
        if (
            get_world_size() == 1
            or is_end
            or self.every_n_inner_iters(batch_idx, self.interval)
            or self.is_last_train_iter(runner)
        ):
            self._judge(runner)

    def before_checkpoint(self, runner: Runner) -> None:
        """Put what was met since the last exchange into the checkpoint."""
        # In all processes or in none.
        if self._seen:
            self._judge(runner)

    def _judge(self, runner: Runner) -> None:
        seen, skipped = self._exchange()
        files = self._state['files']
        current = self._state['seen'] // self._pass_length
        new = []
        for image in skipped:
            if image.path not in files:
                new.append(image)
            files[image.path] = current
        self._state['seen'] += seen
        if new:
            self._tell(runner, new)
        if files:
            runner.message_hub.update_scalar('train/bad_images', len(files))
        runner.message_hub.update_info(_STATE, self._state)
        if skipped:
            self._end_if_too_many(runner, skipped, sum(last == current for last in files.values()))

    def _exchange(self) -> tuple[int, list[BadImage]]:
        """What all processes saw and skipped since the last time, the same in each of them."""
        seen, skipped = self._seen, self._skipped
        self._seen, self._skipped = 0, []
        if get_world_size() > 1:
            numbers = torch.tensor([seen, len(skipped)])
            all_reduce(numbers, 'sum')
            seen, met = numbers.tolist()
            if met:
                skipped = [image for part in all_gather_object(skipped) for image in part]
        return seen, skipped

    def _tell(self, runner: Runner, new: list[BadImage]) -> None:
        before = len(self._state['files']) - len({image.path for image in new})
        new = list({image.path: image for image in reversed(new)}.values())[::-1]
        path = osp.join(runner.log_dir, _LIST)
        if is_main_process():
            with open(path, 'a', encoding='utf-8') as file:
                file.writelines(f'{image.path}\t{image.reason}\n' for image in new)
        for number, image in enumerate(new, before + 1):
            if number <= self.max_lines:
                runner.logger.warning(f'bad image {number}, skipped: {image.path}: {image.reason}')
            elif number == self.max_lines + 1:
                runner.logger.warning(
                    f'bad image {number}: this one and those to come are named in {path}, and '
                    'counted in the log as bad_images'
                )

    def _end_if_too_many(self, runner: Runner, skipped: list[BadImage], found: int) -> None:
        allowed = max(1, self.max_share * self._images) if self.max_share else 0
        if found > allowed:
            raise BadImagesError(
                f'{found} of {self._images} training images are bad, more than max_share='
                f'{self.max_share:g} of BadImagesHook allows. The last: {describe(skipped)}. All '
                f'are listed in {osp.join(runner.log_dir, _LIST)}: replace them, take them out of '
                'the data set, or allow more with --cfg-options default_hooks.bad_images.max_share='
                f'{min(1.0, 2 * found / self._images):.2g}.'
            )


def count_images(dataset: Any) -> int:
    """The number of images of a data set, those that MMEngine's wrappers repeat only once.

    Args:
        dataset: A built one.
    """
    if isinstance(dataset, ConcatDataset):
        return sum(count_images(part) for part in dataset.datasets)
    if isinstance(dataset, (RepeatDataset, ClassBalancedDataset, SeededDataset)):
        return count_images(dataset.dataset)
    return len(dataset)
