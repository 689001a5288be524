"""Numbers of what is selected, while a run trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from logging import WARNING
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_reduce, is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmpretrain.registry import HOOKS
from torch import Tensor

from ...models.hvs_algorithm import selecting_model
from ...selection.record import MAX_LOGGED_COMBINATIONS, Selection, join_selections
from ...selection.statistics.choice import choice_entropy, image_statistics

#: What goes into the log line. Everything goes to the visualizer.
_LINE = ('iou', 'lowest_iou', 'masked', 'score_gap', 'choice_entropy')
_COLOR_LINE = ('color', 'strongest_color')
#: What ``CandidateViews`` records of all views, as ``image_statistics`` calls it.
_RECORDED = ('boxes', 'flips', 'colors')
#: Whose standard deviation is logged, too.
_GAPS = ('iou_gap', 'score_gap')
#: What was not logged yet, in the hub and so in checkpoints.
_WINDOW = 'selection_since_log'


@dataclass
class _Sums:
    """Sums over images.

    Args:
        names: N numbers of an image.
        choices: The C admissible combinations of target views.
        values: (2 N + C), float64: sums of the numbers over the images that have them, how many
            do, and how many images keep each of the choices. One message for everything.
    """

    names: list[str]
    choices: list[tuple[int, ...]]
    values: Tensor

    @classmethod
    def from_saved(cls, saved: dict[str, list[Any]]) -> _Sums:
        return cls(
            saved['names'], saved['choices'], torch.tensor(saved['values'], dtype=torch.float64)
        )

    def saved(self) -> dict[str, list[Any]]:
        return {**vars(self), 'values': self.values.tolist()}

    def means(self) -> dict[str, float]:
        """What is logged of them."""
        sums, numbers, counts = self.values.split([len(self.names)] * 2 + [len(self.choices)])
        means = {
            # NaN in the log line, too, where it would go on showing the last number.
            name: total / number if number else float('nan')
            for name, total, number in zip(self.names, sums.tolist(), numbers.tolist())
        }
        return {
            **_finish(means),
            **_of_choices(counts, self.choices),
            # Without those that have no finite score.
            'score_gap_images': int(numbers[self.names.index('score_gap')]),
        }


@HOOKS.register_module()
class SelectionStatsHook(Hook):
    """Logs what hard view selection keeps, against what there was to choose from.

    Acts after every training iteration, where it only sets the iteration's numbers aside, and
    computes and logs after every ``interval`` iterations of an epoch and at its end, as MMEngine's
    ``LoggerHook`` counts. All images since the last time for which views were selected count, of
    all processes; where none were, nothing is logged. Losses, weights and random states are left
    alone.

    Into the log line go, through MMEngine's ``MessageHub``:

    - ``iou_kept``, ``iou_all``: mean IoU of the kept crops, and of all that could be kept,
    - ``lowest_iou``, ``lowest_iou_chance``: share of images whose kept crops have the lowest IoU,
      and what a random choice would give,
    - ``color_kept``, ``color_all``, ``strongest_color``, ``strongest_color_chance``: the same of
      the strength of the color jitter, from when on views differed in it,
    - ``masked_kept``, ``masked_all``: mean share of masked patches, where there are masks (iBOT),
    - ``score_gap``: score of the kept combination minus the mean of all,
    - ``choice_entropy``: 1 if all combinations are kept equally often, 0 if always the same.

    The visualizer with its JSON log, TensorBoard and the like get them as ``selection/iou_kept``
    ..., and with them everything of :func:`hvs_mm.selection.image_statistics`, the share of each
    combination as ``selection/kept_0-1`` ..., the standard deviation over images of the gaps
    (``selection/iou_gap_std``, ``selection/score_gap_std``), and the number of images,
    ``selection/images``; ``selection/score_gap_images`` counts those with a finite score.

    Args:
        interval: Iterations from one log entry to the next.

    Raises:
        ValueError: If ``interval`` is below 1; when training starts, if the model selects no views
            or the data samples lack what :class:`PackViews` puts there.
    """

    def __init__(self, interval: int = 50) -> None:
        if isinstance(interval, bool) or not isinstance(interval, int) or interval < 1:
            raise ValueError(f'interval={interval!r} must be a number of iterations, at least 1.')
        self.interval = interval
        self._batches: list[tuple[Selection, dict[str, np.ndarray]]] = []
        self._earlier: _Sums | None = None

    def before_train(self, runner: Runner) -> None:
        selecting_model(runner.model)
        self._batches.clear()
        # What a run that was killed has seen since its last log entry. One process adds it.
        saved = runner.message_hub.runtime_info.get(_WINDOW)
        self._earlier = _Sums.from_saved(saved) if saved and runner.iter else None
        if self._earlier is not None and not is_main_process():
            self._earlier.values.zero_()
        logged = runner.message_hub.log_scalars if runner.iter else ()
        self._has_colors = any('strongest_color' in name for name in logged)
        self._by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        selection = selecting_model(runner.model).last_selection
        if selection is not None:
            # The losses of pairs are not needed, and large.
            selection = replace(selection, pair_loss=selection.pair_loss.new_empty(0))
            self._batches.append((selection, recorded_views(data_batch['data_samples'])))
        is_end = self._by_epoch and self.end_of_epoch(runner.train_dataloader, batch_idx)
        is_end = is_end or self.is_last_train_iter(runner)
        if self.every_n_inner_iters(batch_idx, self.interval) or is_end:
            # In a warm-up nothing is selected, in any process.
            if self._batches or self._earlier is not None:
                self._log(runner, self._sums().means())
            self._batches.clear()
            self._earlier = None

    def before_checkpoint(self, runner: Runner) -> None:
        """Put what was not logged yet into the checkpoint."""
        if self._batches:
            self._earlier = self._sums()
            self._batches.clear()
            saved = self._earlier.saved()
            if not is_main_process():
                # They are in the first one's now, here as after a resume.
                self._earlier.values.zero_()
        else:
            saved = self._earlier.saved() if self._earlier is not None else None
        runner.message_hub.update_info(_WINDOW, saved)

    def _sums(self) -> _Sums:
        """Over the images that were set aside, of all processes."""
        sums, earlier = self._own_sums() if self._batches else self._earlier, self._earlier
        if self._batches and earlier is not None:
            if (sums.names, sums.choices) == (earlier.names, earlier.choices):
                sums.values += earlier.values
            else:
                # All processes have the same settings, and had.
                print_log(
                    'The run that is resumed selected among other candidates or views than this '
                    'one: what it had not yet logged of its selection is left out.',
                    logger='current',
                    level=WARNING,
                )
        all_reduce(sums.values, 'sum')
        return sums

    def _own_sums(self) -> _Sums:
        """Over the batches of this process that were set aside."""
        selection = join_selections([selection for selection, _ in self._batches])
        views = {
            name: torch.cat([_of_selected(views[name], s) for s, views in self._batches])
            for name in self._batches[0][1]
        }
        per_image = image_statistics(selection, **views)
        for name in _GAPS:
            if name in per_image:
                per_image[f'{name}_square'] = per_image[name].square()
        choices = selection.groups.target_combinations()
        counts = (selection.choice_shares() * len(selection.indices)).round()
        # (N, n)
        values = torch.stack(list(per_image.values())).double()
        values = torch.cat([values.nansum(1), (~values.isnan()).sum(1), counts]).cpu()
        return _Sums(list(per_image), choices, values)

    def _log(self, runner: Runner, scalars: dict[str, float]) -> None:
        # A line without color jitter needs no zeros.
        self._has_colors |= scalars['strongest_color_chance'] < 1
        shown = _LINE + _COLOR_LINE if self._has_colors else _LINE
        for name, value in scalars.items():
            if name.removesuffix('_chance').removesuffix('_kept').removesuffix('_all') in shown:
                runner.message_hub.update_scalar(f'train/{name}', value)
        position = {'epoch': runner.epoch + 1} if self._by_epoch else {}
        runner.visualizer.add_scalars(
            {
                **{f'selection/{name}': value for name, value in scalars.items()},
                **position,
                'iter': runner.iter + 1,
            },
            step=runner.iter + 1,
            file_path=f'{runner.timestamp}.json',
        )


def recorded_views(data_samples: Sequence[Any]) -> dict[str, np.ndarray]:
    """What ``CandidateViews`` recorded of the views of a batch.

    Args:
        data_samples: B data samples.

    Returns:
        ``boxes`` (B, S, 4), ``flips`` (B, S, 2) and ``colors`` (B, S, 7); behind ``BlockMasks``
        also ``masked`` (B, T), the share of masked patches of the T target views.

    Raises:
        ValueError: If the samples do not have them.
    """
    try:
        recorded = {
            name: np.stack([getattr(sample, f'view_{name}') for sample in data_samples])
            for name in _RECORDED
        }
    except AttributeError as error:
        raise ValueError(
            f'{error}: the data samples do not tell where the views lie. Draw them with '
            'CandidateViews and pack them with PackViews, with its default meta_keys.'
        ) from error
    if 'view_masks' in data_samples[0]:
        # (B, T, h, w)
        masks = np.stack([sample.view_masks for sample in data_samples])
        recorded['masked'] = masks.mean((2, 3), dtype=np.float32)
    return recorded


def _of_selected(views: np.ndarray, selection: Selection) -> Tensor:
    """The rows (n, ...) of a batch (B, ...) that were selected for, on the selection's device."""
    rows = torch.from_numpy(views).to(selection.indices.device)
    return rows if selection.samples is None else rows[selection.samples]


def _finish(means: dict[str, float]) -> dict[str, float]:
    """Turn mean squares into standard deviations."""
    for name in _GAPS:
        square = means.pop(f'{name}_square', None)
        if square is not None:
            means[f'{name}_std'] = max(square - means[name] ** 2, 0.0) ** 0.5
    return means


def _of_choices(counts: Tensor, choices: list[tuple[int, ...]]) -> dict[str, float]:
    images = int(counts.sum())
    shares = {
        'kept_' + '-'.join(map(str, views)): count / images
        for views, count in zip(choices, counts.tolist())
    }
    return {
        **(shares if len(choices) <= MAX_LOGGED_COMBINATIONS else {}),
        'choice_entropy': choice_entropy(counts),
        'images': images,
    }
