"""Log statistics of the selected views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from logging import WARNING
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmpretrain.registry import HOOKS
from torch import Tensor

from ...models.hvs_algorithm import selecting_model
from ...selection.record import Selection, join_selections
from ...selection.recorded_values import view_records
from ...selection.statistics.totals import mean_statistics, sum_statistics
from ...utils.arguments import check_whole

#: Entries of the log line. The visualizer gets everything.
_LINE = ('iou', 'lowest_iou', 'masked', 'score_gap', 'choice_entropy')
_COLOR_LINE = ('color', 'strongest_color')
#: Records of ``CandidateViews``, as ``image_statistics`` calls them.
_RECORDED = ('boxes', 'flips', 'colors')
#: Name of the sums since the last log entry in the message hub, which checkpoints contain.
_WINDOW = 'selection_since_log'


@HOOKS.register_module()
class SelectionStatsHook(Hook):
    """Logs statistics of the views that hard view selection keeps, and of all candidates.

    Acts after every training iteration, where it only stores the selection, and computes and logs
    after every ``interval`` iterations of an epoch and at its end, as MMEngine's ``LoggerHook``
    counts. The statistics cover the images of all processes since the last entry for which views
    were selected; without any, nothing is logged. Losses, weights and random states stay unchanged.

    The log line gets, through MMEngine's ``MessageHub``:

    - ``iou_kept``, ``iou_all``: mean IoU of the kept crops, and of all candidates,
    - ``lowest_iou``, ``lowest_iou_chance``: share of images whose kept crops have the lowest IoU,
      and its expectation for a random choice,
    - ``color_kept``, ``color_all``, ``strongest_color``, ``strongest_color_chance``: the same for
      the strength of the color jitter, once views have differed in it,
    - ``masked_kept``, ``masked_all``: mean share of masked patches, where there are masks (iBOT),
    - ``score_gap``: score of the kept combination minus the mean of all, by losses or by what else
      the selector compares,
    - ``choice_entropy``: 1 if all combinations are kept equally often, 0 if always the same.

    The visualizer with its JSON log, TensorBoard and the like get them as ``selection/iou_kept``
    ..., with all other statistics of :func:`hvs_mm.selection.image_statistics`, the share of each
    combination as ``selection/kept_0-1`` ..., the standard deviation over images of the gaps
    (``selection/iou_gap_std``, ``selection/score_gap_std``), and the number of images,
    ``selection/images``; ``selection/score_gap_images`` counts those with a finite score. The
    realized hardness, ``selection/hardness``, is in the log line as ``hvs_hardness`` of the model.

    Args:
        interval: Iterations from one log entry to the next.

    Raises:
        ValueError: If ``interval`` is below 1; when training starts, if the model selects no views
            or the data samples lack the records of :class:`PackViews`.
    """

    def __init__(self, interval: int = 50) -> None:
        self.interval = check_whole('interval', interval, hint='a number of iterations.')
        self._batches: list[tuple[Selection, dict[str, np.ndarray]]] = []
        #: Sums of all processes from before the last checkpoint, since the last log entry.
        self._earlier: dict[str, list[Any]] | None = None
        #: All statistics of the last log entry, by name.
        self.latest: dict[str, float] | None = None

    def before_train(self, runner: Runner) -> None:
        selecting_model(runner.model)
        self._batches.clear()
        self._earlier = runner.message_hub.runtime_info.get(_WINDOW) if runner.iter else None
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
        is_due = (
            self.every_n_inner_iters(batch_idx, self.interval)
            or (self._by_epoch and self.end_of_epoch(runner.train_dataloader, batch_idx))
            or self.is_last_train_iter(runner)
        )
        # In a warm-up no process selects views.
        if is_due and (self._batches or self._earlier):
            self._log(runner, mean_statistics(**self._sums()))
            self._earlier = None

    def before_checkpoint(self, runner: Runner) -> None:
        """Add the sums since the last log entry to the checkpoint."""
        if self._batches:
            self._earlier = self._sums()
        runner.message_hub.update_info(_WINDOW, self._earlier)

    def _sums(self) -> dict[str, list[Any]]:
        """Sums over the images of all processes since the last log entry.

        Returns:
            ``names``, ``choices`` and ``values`` of :func:`sum_statistics`, the latter as a list.
        """
        batches, earlier = self._batches, self._earlier
        if earlier is not None and not batches:
            return earlier
        selection = join_selections([selection for selection, _ in batches])
        views = {
            name: torch.cat([_selected_rows(views[name], s) for s, views in batches])
            for name in batches[0][1]
        }
        self._batches = []
        names, choices, values = sum_statistics(selection, **views)
        all_reduce(values, 'sum')
        if earlier and (names, choices) == (earlier['names'], earlier['choices']):
            values += torch.tensor(earlier['values'], dtype=torch.float64)
        elif earlier:
            # The same in all processes, which have the same settings.
            print_log(
                'The resumed run selected among other candidates or views than this one: its '
                'statistics since the last log entry are dropped.',
                logger='current',
                level=WARNING,
            )
        return {'names': names, 'choices': choices, 'values': values.tolist()}

    def _log(self, runner: Runner, scalars: dict[str, float]) -> None:
        self.latest = scalars
        # Without color jitter the line needs no zeros.
        self._has_colors |= scalars['strongest_color_chance'] < 1
        shown = _LINE + _COLOR_LINE if self._has_colors else _LINE
        for name, value in scalars.items():
            if name.removesuffix('_chance').removesuffix('_kept').removesuffix('_all') in shown:
                runner.message_hub.update_scalar(f'train/{name}', value)
        entry = {f'selection/{name}': value for name, value in scalars.items()}
        if self._by_epoch:
            entry['epoch'] = runner.epoch + 1
        entry['iter'] = step = runner.iter + 1
        runner.visualizer.add_scalars(entry, step=step, file_path=f'{runner.timestamp}.json')


def recorded_views(data_samples: Sequence[Any]) -> dict[str, np.ndarray]:
    """Return the records that ``CandidateViews`` made of the views of B samples.

    These are ``boxes`` (B, S, 4), ``flips`` (B, S, 2) and ``colors`` (B, S, 7); with ``BlockMasks``
    also ``masked`` (B, T), the share of masked patches of the T target views.
    """
    recorded = view_records(data_samples, *_RECORDED)
    if 'view_masks' in data_samples[0]:
        # (B, T, h, w)
        masks = np.stack([sample.view_masks for sample in data_samples])
        recorded['masked'] = masks.mean((2, 3), dtype=np.float32)
    return recorded


def _selected_rows(views: np.ndarray, selection: Selection) -> Tensor:
    """The rows (n, ...) of a batch (B, ...) with a selection, on the selection's device."""
    rows = torch.from_numpy(views).to(selection.indices.device)
    return rows if selection.samples is None else rows[selection.samples]
