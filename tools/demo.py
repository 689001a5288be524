"""Train with and without hard views on the same built-in images, and show what selection did."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from _demo_run import Outcome, train
from mmengine.config import Config
from rich.console import Console
from rich.table import Table
from scipy.stats import bootstrap

from hvs_mm.engine import add_trust_option, build_trusted_model, one_line_errors, tool_parser
from hvs_mm.utils.option_values import OptionValues

ROOT = Path(__file__).resolve().parents[1]
BASELINE, HARD = 'baseline', 'hard views'


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument(
        '--config',
        default=str(ROOT / 'configs/demo/hvs_simclr_scenes.py'),
        help='config of a run with hard views; the baseline is the same without them',
    )
    parser.add_argument('--seed', type=int, help="seed of both runs; the config's by default")
    parser.add_argument('--work-dir', default='work_dirs/demo')
    parser.add_argument('--cfg-options', nargs='+', action=OptionValues, default={})
    add_trust_option(parser)
    return parser.parse_args(argv)


def without_selection(cfg: Config) -> Config:
    """The config of the baseline: the wrapped algorithm, and only the views that it needs.

    The views still come from ``CandidateViews``. Upstream's ``MultiView`` is slower, and the
    baseline would lose time for a reason that has nothing to do with selection.
    """
    baseline = deepcopy(cfg)
    baseline.model = cfg.model.algorithm
    for step in baseline.train_dataloader.dataset.pipeline:
        if step['type'] == 'CandidateViews':
            step['num_views'] = list(cfg.model.keep)
    for hook in ('selection', 'panel'):
        # Both need a model that selects.
        baseline.default_hooks.pop(hook, None)
    return baseline


def make_configs(args: argparse.Namespace) -> dict[str, Config]:
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    if 'candidates' not in cfg.model:
        raise ValueError(
            f'--config {args.config}: its model {cfg.model.type} selects no views. Name the config '
            'of a run with hard views, such as configs/demo/hvs_simclr_scenes.py.'
        )
    if args.seed is not None:
        cfg.randomness = dict(seed=args.seed)
    # Each of the two processes has a core to itself, for which workers would compete.
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    # Its pictures take seconds, which the baseline does not lose. The demo draws one at the end.
    cfg.default_hooks.pop('panel', None)
    # Two progress bars do not fit into one terminal.
    hooks = cfg.get('custom_hooks') or []
    cfg.custom_hooks = [hook for hook in hooks if hook['type'] != 'ProgressHook']
    configs = {BASELINE: without_selection(cfg), HARD: cfg}
    for name, one in configs.items():
        one.work_dir = str(Path(args.work_dir) / name.replace(' ', '_'))
        build_trusted_model(one, args.trust)
    return configs


def with_interval(values: np.ndarray, form: str) -> str:
    """The mean of N images (N,) with its 95 % confidence interval, from a bootstrap over images."""
    values = values[np.isfinite(values)]
    result = bootstrap((values,), np.mean, method='percentile', random_state=0)
    low, high = result.confidence_interval
    return f'{values.mean():{form}} [{low:{form}}, {high:{form}}]'


def accuracy_table(title: str, outcomes: dict[str, Outcome]) -> Table:
    table = Table('', *outcomes, title=title)
    rows = {
        'k-NN accuracy, untrained': [f'{run.before:.1f} %' for run in outcomes.values()],
        'k-NN accuracy, trained': [f'{run.after:.1f} %' for run in outcomes.values()],
        'training': [f'{run.seconds:.0f} s' for run in outcomes.values()],
        'CPU time of it': [f'{run.cpu_seconds:.0f} s' for run in outcomes.values()],
    }
    for label, cells in rows.items():
        table.add_row(label, *cells)
    return table


def selection_table(found: dict[str, np.ndarray]) -> Table:
    number = len(found['iou_gap'])
    table = Table(title=f'What hard views keep of {number} images', show_header=False)
    table.add_row(
        'mean IoU of the crops',
        f'kept {found["iou_kept"].mean():.3f}, all pairs {found["iou_all"].mean():.3f}',
    )
    table.add_row('difference', with_interval(found['iou_gap'], '+.3f'))
    chance = found['lowest_iou_chance'].mean()
    table.add_row(
        'lowest-IoU pair kept',
        f'{with_interval(found["lowest_iou"], ".1%")}, by chance {chance:.1%}',
    )
    table.add_row('score above the mean', with_interval(found['score_gap'], '+.3f'))
    return table


def notes(outcomes: dict[str, Outcome]) -> Iterable[str]:
    """What the numbers say, and what they do not."""
    baseline, hard = outcomes.values()
    # Of a difference between two shares, as if each had validation images of its own.
    variance = sum(run.after * (100 - run.after) for run in outcomes.values()) / hard.num_queries
    ratio = hard.cpu_seconds / baseline.cpu_seconds
    yield (
        f'Accuracy: {hard.after - baseline.after:+.1f} points in one seed. The {hard.num_queries} '
        f'validation images alone leave ±{1.96 * variance**0.5:.1f} points open (95 %), and seeds '
        "differ by more than that: try ARGS='--seed 1'."
    )
    yield (
        f'Time: equal epochs, for which hard views took {ratio:.1f} times the CPU time of the '
        'baseline.'
    )
    yield (
        'Selection: by the trained network, of fresh views of training images; in brackets 95 % '
        'intervals over images.'
    )
    yield (
        'Images: drawn so that overlap matters. What hard views give on photographs, and at equal '
        'time, is in docs/results.md.'
    )


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    # Threads do not survive a fork, and would only wait for the other process.
    torch.set_num_threads(1)
    with one_line_errors(ValueError):
        configs = make_configs(args)
    # Forked, as the imports take seconds. Both start together, so neither has a quieter machine.
    with ProcessPoolExecutor(2, mp_context=get_context('fork')) as pool:
        outcomes = dict(zip(configs, pool.map(train, configs, configs.values())))
    console = Console()
    console.print(accuracy_table(f'{configs[BASELINE].model.type} on built-in images', outcomes))
    console.print(selection_table(outcomes[HARD].statistics))
    for note in notes(outcomes):
        console.print(note, highlight=False, markup=False)
    # Printed without wrapping, so that the paths can be copied.
    paths = {'log': outcomes[HARD].log, 'checkpoint': outcomes[HARD].checkpoint}
    paths['picture'] = Path(args.work_dir) / 'selection.png'
    for label, path in paths.items():
        print(f'{label + ":":12}{os.path.relpath(path)}')


if __name__ == '__main__':
    main()
