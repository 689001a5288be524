"""Log statistics of the selected views."""

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
from ...utils.arguments import check_whole

#: Entries of the log line. The visualizer gets everything.
_LINE = ('iou', 'lowest_iou', 'masked', 'score_gap', 'choice_entropy')
_COLOR_LINE = ('color', 'strongest_color')
#: Records of ``CandidateViews``, as ``image_statistics`` calls them.
_RECORDED = ('boxes', 'flips', 'colors')
#: Statistics whose standard deviation is logged, too.
_GAPS = ('iou_gap', 'score_gap')
#: Name of the sums since the last log entry in the message hub, which checkpoints contain.
_WINDOW = 'selection_since_log'


@dataclass
class _Sums:
    """Sums over images.

    Args:
        names: Names of N statistics of an image.
        choices: The C admissible combinations of target views.
        values: (2 N + C), float64: sums of the statistics over the images that have them, the
            numbers of these images, and the number of images that keep each of the choices.
    """

    names: list[str]
    choices: list[tuple[int, ...]]
    values: Tensor

    def scalars(self) -> dict[str, float]:
        """Return the log entries."""
        sums, numbers, counts = self.values.split([len(self.names)] * 2 + [len(self.choices)])
        scalars = {
            # NaN also in the log line, which would otherwise repeat the last number.
            name: total / number if number else float('nan')
            for name, total, number in zip(self.names, sums.tolist(), numbers.tolist())
        }
        for name in _GAPS:
            square = scalars.pop(f'{name}_square', None)
            if square is not None:
                scalars[f'{name}_std'] = max(square - scalars[name] ** 2, 0.0) ** 0.5
        images = int(counts.sum())
        if len(self.choices) <= MAX_LOGGED_COMBINATIONS:
            for views, count in zip(self.choices, counts.tolist()):
                scalars['kept_' + '-'.join(map(str, views))] = count / images
        return {
            **scalars,
            'choice_entropy': choice_entropy(counts),
            'images': images,
            # Without images that have no finite score.
            'score_gap_images': int(numbers[self.names.index('score_gap')]),
        }


@HOOKS.register_module()
class SelectionStatsHook(Hook):
    """Logs statistics of the views that hard view selection keeps, and of all candidates.

    Acts after every training iteration, where it only stores the selection, and computes and logs
    after every ``interval`` iterations of an epoch and at its end, as MMEngine's ``LoggerHook``
    counts. The statistics cover the images of all processes since the last entry for which views
    were selected; if there are none, nothing is logged. Losses, weights and random states stay
    unchanged.

    The log line gets, through MMEngine's ``MessageHub``:

    - ``iou_kept``, ``iou_all``: mean IoU of the kept crops, and of all candidates,
    - ``lowest_iou``, ``lowest_iou_chance``: share of images whose kept crops have the lowest IoU,
      and its expectation for a random choice,
    - ``color_kept``, ``color_all``, ``strongest_color``, ``strongest_color_chance``: the same for
      the strength of the color jitter, once views have differed in it,
    - ``masked_kept``, ``masked_all``: mean share of masked patches, where there are masks (iBOT),
    - ``score_gap``: score of the kept combination minus the mean of all,
    - ``choice_entropy``: 1 if all combinations are kept equally often, 0 if always the same.

    The visualizer with its JSON log, TensorBoard and the like get them as ``selection/iou_kept``
    ..., with all other statistics of :func:`hvs_mm.selection.image_statistics`, the share of each
    combination as ``selection/kept_0-1`` ..., the standard deviation over images of the gaps
    (``selection/iou_gap_std``, ``selection/score_gap_std``), and the number of images,
    ``selection/images``; ``selection/score_gap_images`` counts those with a finite score.

    Args:
        interval: Iterations from one log entry to the next.

    Raises:
        ValueError: If ``interval`` is below 1; when training starts, if the model selects no views
            or the data samples lack the records of :class:`PackViews`.
    """

    def __init__(self, interval: int = 50) -> None:
        self.interval = check_whole('interval', interval, hint='a number of iterations.')
        self._batches: list[tuple[Selection, dict[str, np.ndarray]]] = []
        self._earlier: _Sums | None = None

    def before_train(self, runner: Runner) -> None:
        selecting_model(runner.model)
        self._batches.clear()
        # Sums of a killed run since its last log entry. One process adds them.
        saved = runner.message_hub.runtime_info.get(_WINDOW)
        self._earlier = None
        if saved and runner.iter:
            values = torch.tensor(saved['values'], dtype=torch.float64)
            self._earlier = _Sums(**{**saved, 'values': values})
            if not is_main_process():
                values.zero_()
        logged = runner.message_hub.log_scalars if runner.iter else ()
        self._has_colors = any('strongest_color' in name for name in logged)
        self._by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        selection = selecting_model(runner.model).last_selection
        if selection is not None:
            # The pair losses are large, and not needed.
            selection = replace(selection, pair_loss=selection.pair_loss.new_empty(0))
            self._batches.append((selection, recorded_views(data_batch['data_samples'])))
        if (
            self.every_n_inner_iters(batch_idx, self.interval)
            or (self._by_epoch and self.end_of_epoch(runner.train_dataloader, batch_idx))
            or self.is_last_train_iter(runner)
        ):
            # In a warm-up no process selects views.
            if self._batches or self._earlier is not None:
                self._log(runner, self._sums().scalars())
            self._batches.clear()
            self._earlier = None

    def before_checkpoint(self, runner: Runner) -> None:
        """Add the sums since the last log entry to the checkpoint."""
        if self._batches:
            self._earlier = self._sums()
            self._batches.clear()
        saved = None
        if self._earlier is not None:
            saved = {**vars(self._earlier), 'values': self._earlier.values.tolist()}
            if not is_main_process():
                # The first process has the sums of all now, as after a resume.
                self._earlier.values.zero_()
        runner.message_hub.update_info(_WINDOW, saved)

    def _sums(self) -> _Sums:
        """Sums over the stored images of all processes."""
        sums, earlier = self._own_sums() if self._batches else self._earlier, self._earlier
        if self._batches and earlier is not None:
            if (sums.names, sums.choices) == (earlier.names, earlier.choices):
                sums.values += earlier.values
            else:
                # The same in all processes, which have the same settings.
                print_log(
                    'The resumed run selected among other candidates or views than this one: its '
                    'statistics since the last log entry are dropped.',
                    logger='current',
                    level=WARNING,
                )
        all_reduce(sums.values, 'sum')
        return sums

    def _own_sums(self) -> _Sums:
        """Sums over the stored batches of this process."""
        selection = join_selections([selection for selection, _ in self._batches])
        views = {
            name: torch.cat([_selected_rows(views[name], s) for s, views in self._batches])
            for name in self._batches[0][1]
        }
        per_image = image_statistics(selection, **views)
        for name in _GAPS:
            if name in per_image:
                per_image[f'{name}_square'] = per_image[name].square()
        counts = (selection.choice_shares() * len(selection.indices)).round()
        # (N, n)
        values = torch.stack(list(per_image.values())).double()
        values = torch.cat([values.nansum(1), (~values.isnan()).sum(1), counts]).cpu()
        return _Sums(list(per_image), selection.groups.target_combinations(), values)

    def _log(self, runner: Runner, scalars: dict[str, float]) -> None:
        # Without color jitter the line needs no zeros.
        self._has_colors |= scalars['strongest_color_chance'] < 1
        shown = _LINE + _COLOR_LINE if self._has_colors else _LINE
        for name, value in scalars.items():
            if name.removesuffix('_chance').removesuffix('_kept').removesuffix('_all') in shown:
                runner.message_hub.update_scalar(f'train/{name}', value)
        runner.visualizer.add_scalars(
            {
                **{f'selection/{name}': value for name, value in scalars.items()},
                **({'epoch': runner.epoch + 1} if self._by_epoch else {}),
                'iter': runner.iter + 1,
            },
            step=runner.iter + 1,
            file_path=f'{runner.timestamp}.json',
        )


def recorded_views(data_samples: Sequence[Any]) -> dict[str, np.ndarray]:
    """Return the records that ``CandidateViews`` made of the views of a batch.

    Args:
        data_samples: B data samples.

    Returns:
        ``boxes`` (B, S, 4), ``flips`` (B, S, 2) and ``colors`` (B, S, 7); with ``BlockMasks``
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
            f'{error}: the data samples have no records of the views. Draw them with '
            'CandidateViews and pack them with PackViews, with its default meta_keys.'
        ) from error
    if 'view_masks' in data_samples[0]:
        # (B, T, h, w)
        masks = np.stack([sample.view_masks for sample in data_samples])
        recorded['masked'] = masks.mean((2, 3), dtype=np.float32)
    return recorded


def _selected_rows(views: np.ndarray, selection: Selection) -> Tensor:
    """The rows (n, ...) of a batch (B, ...) with a selection, on the selection's device."""
    rows = torch.from_numpy(views).to(selection.indices.device)
    return rows if selection.samples is None else rows[selection.samples]
