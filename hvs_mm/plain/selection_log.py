"""The log of a training in plain torch, for the reports of the package."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..selection.record import Selection
from ..selection.statistics.totals import mean_statistics, sum_statistics

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class SelectionLog:
    """Writes what was selected into a folder that ``hvs-mm report`` and ``compare`` read.

    It has the format of MMEngine's logs and the statistics of ``SelectionStatsHook``. A training
    that is resumed makes a new one: its epochs replace those of the earlier log. With several
    processes, write in one of them; the log then covers the images of that process.

    Args:
        folder: Folder of the run, which is made when something is written.

    Examples:
        >>> log = SelectionLog('runs/mine')
        >>> kept, record = hard(model, batch.views)
        >>> log.add(record, batch.boxes, batch.flips)
        >>> log.write(epoch=1, loss=loss.item())
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._start = f'{datetime.now():%Y%m%d_%H%M%S}'
        self._steps = 0
        self._sums: tuple[list[str], list[tuple[int, ...]], Tensor] | None = None

    def add(
        self,
        record: Selection,
        boxes: Tensor,
        flips: Tensor | None = None,
        colors: Tensor | None = None,
    ) -> None:
        """Add the record of a batch, with those of its views.

        Args:
            record: What ``HardViews`` returned.
            boxes, flips, colors: As :func:`hvs_mm.selection.image_statistics` takes them; the first
                two are those of a :class:`CandidateBatch`.

        Raises:
            ValueError: If the boxes are not those of the views, or other candidates or records of
                views than before come before the next :meth:`write`.
        """
        shape = len(record.indices), record.groups.num_views, 4
        if tuple(boxes.shape) != shape:
            raise ValueError(
                f'boxes have shape {tuple(boxes.shape)}, expected (B, S, 4) = {shape}: add a '
                'record with the boxes of its batch.'
            )
        device = record.indices.device
        given = dict(boxes=boxes, flips=flips, colors=colors)
        views = {name: value.to(device) for name, value in given.items() if value is not None}
        names, choices, values = sum_statistics(record, **views)
        if self._sums is not None:
            if self._sums[:2] != (names, choices):
                raise ValueError(
                    'the record has other candidates or statistics than those before it: call '
                    'write() first, or keep a SelectionLog for each.'
                )
            values = values + self._sums[2]
        self._sums = names, choices, values
        self._steps += 1

    def write(
        self, epoch: int, loss: float | None = None, panel: Figure | None = None
    ) -> dict[str, Any]:
        """Append the means over all images since the last call.

        Args:
            epoch: Finished epochs, 1 after the first.
            loss: The loss of training, for its curve.
            panel: A picture of :func:`hvs_mm.visualization.draw_record`, which the report shows.

        Returns:
            The means by name, without those that no image has; empty if nothing was added.

        Raises:
            OSError: If the folder cannot be written.
        """
        means: dict[str, Any] = {}
        if self._sums is not None:
            names, choices, values = self._sums
            means = mean_statistics(names, choices, values.tolist())
            means = {name: value for name, value in means.items() if value == value}
        self._sums = None
        lines = [{f'selection/{name}': value for name, value in means.items()}]
        lines += [] if loss is None else [{'loss': loss}]
        place = dict(epoch=epoch, iter=self._steps, step=self._steps)
        path = self.folder / self._start / 'vis_data' / 'scalars.json'
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open('a', encoding='utf-8') as file:
            file.writelines(json.dumps({**line, **place}) + '\n' for line in lines if line)
        if panel is not None:
            (self.folder / 'selection').mkdir(exist_ok=True)
            panel.savefig(self.folder / 'selection' / f'epoch_{epoch}.png')
        return means
