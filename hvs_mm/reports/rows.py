"""One row of the comparison per run, linear evaluations beside the pretraining they are of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .run import Run
from .run_config import FINE_TUNING, LINEAR, PRETRAINING, checkpoint_folder


@dataclass
class Row:
    """What is compared of a run; None is not known.

    Attributes:
        run: The run.
        knn: Top-1 accuracy of the k-NN classifier in percent, after the last epoch it was measured.
        knn_epoch: That epoch.
        linear: Top-1 accuracy of the linear evaluation in percent, of its last validation.
        best_linear: The highest one of its validations.
        linear_run: Name of the linear evaluation, where that is a run of its own.
        fine_tuned: Top-1 accuracy in percent of a run that trains the whole network on labels.
    """

    run: Run
    knn: float | None = None
    knn_epoch: int | None = None
    linear: float | None = None
    best_linear: float | None = None
    linear_run: str | None = None
    fine_tuned: float | None = None

    def add_linear(self, run: Run) -> None:
        accuracies = run.accuracies()
        if accuracies:
            self.linear = accuracies[max(accuracies)]
            self.best_linear = max(accuracies.values())
        if run is not self.run:
            self.linear_run = run.name


def make_rows(runs: Sequence[Run], k: int) -> tuple[list[Row], list[str]]:
    """Put runs into rows.

    A linear evaluation has no row of its own if the run whose checkpoint it starts from is among
    the others, and no second evaluation is of the same run.

    Args:
        runs: The runs.
        k: Number of neighbors.

    Returns:
        The rows in the order of the runs, and what to tell beside them, one sentence each.
    """
    notes = [note for run in runs for note in run.notes]
    sources = {run.path.resolve(): run for run in runs if run.config.kind == PRETRAINING}
    evaluations: dict[str, list[Run]] = {}
    for run in runs:
        folder = checkpoint_folder(run.config.checkpoint)
        if run.config.kind == LINEAR and folder in sources:
            evaluations.setdefault(sources[folder].name, []).append(run)
    attached = {}
    for name, found in evaluations.items():
        if len(found) == 1:
            attached[name] = found[0]
        else:
            notes.append(
                f'{name}: {len(found)} linear evaluations are of it, each in a row of its own.'
            )
    hidden = {run.name for run in attached.values()}
    rows = []
    for run in runs:
        if run.name in hidden:
            continue
        row = Row(run)
        curve = run.knn.get(k, {})
        if curve:
            row.knn_epoch = max(curve)
            row.knn = curve[row.knn_epoch]
        elif run.knn:
            others = ', '.join(map(str, sorted(run.knn)))
            notes.append(f'{run.name}: its k-NN accuracy is of k = {others}, not {k}: see --k.')
        if run.config.kind == LINEAR:
            row.add_linear(run)
        elif run.config.kind == FINE_TUNING:
            accuracies = run.accuracies()
            row.fine_tuned = accuracies[max(accuracies)] if accuracies else None
        elif run.name in attached:
            row.add_linear(attached[run.name])
        rows.append(row)
    return rows, notes
