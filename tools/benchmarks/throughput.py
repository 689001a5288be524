"""How many images a second 1 to 64 GPUs train on with hard views, from the numbers of one.

A model on paper: each GPU takes a step of the method, at the given rate, and of the selection, at
the given ratio. Processes pass on what they send in a ring, as fast as the slowest link; gradients
travel during a share of the step, all else stops it. The loader draws on the given cores. What a
step sends comes from the formulas of tools/benchmarks/communication.py, without SyncBN.

Prints a table in Markdown, and where loader, selection and network become the limit.
"""

from __future__ import annotations

import argparse
import json
from math import inf, nan
from pathlib import Path
from typing import NamedTuple

from _traffic import Collective, formula
from _workload import selecting_model

from hvs_mm.engine import one_line_errors, read_merged_config, tool_parser

GPUS = (1, 2, 4, 8, 16, 32, 64)


class Cluster(NamedTuple):
    """The machines.

    Attributes:
        gpus: GPUs of a machine.
        cores: Cores that draw views, per GPU.
        within: Bytes a second from one GPU of a machine to another.
        between: Bytes a second from one machine to another.
    """

    gpus: int
    cores: float
    within: float
    between: float


class Step(NamedTuple):
    """A training step on one GPU.

    Attributes:
        batch_size: Images.
        plain: Seconds of the baseline's step.
        ratio: Step with hard views over the baseline's.
        overlap: Share of the baseline's step in which gradients travel.
        loader: Images a second that a core draws the candidates of; infinite if not known.
        traffic: The collectives of ``selection``, ``loss`` and ``gradients``.
    """

    batch_size: int
    plain: float
    ratio: float
    overlap: float
    loader: float
    traffic: dict[str, list[Collective]]


class Throughput(NamedTuple):
    """What a number of GPUs achieves.

    Attributes:
        plain: Images a second without selection, if the loader gives them.
        hard: Images a second with hard views.
        waiting: Seconds of a step with hard views that the network takes.
        loader: Images a second that all cores draw.
        limit: ``'loader'``, ``'network'`` or ``'selection'``: what costs most images.
    """

    plain: float
    hard: float
    waiting: float
    loader: float
    limit: str


def throughput(step: Step, cluster: Cluster, gpus: int) -> Throughput:
    """Images a second of a number of GPUs."""
    link = cluster.within if gpus <= cluster.gpus else cluster.between
    sent = {name: sum(one.sent(gpus) for one in found) for name, found in step.traffic.items()}
    gradients = max(0.0, sent['gradients'] / link - step.overlap * step.plain)
    method = gradients + sent['loss'] / link
    waiting = method + sent['selection'] / link
    selecting = (step.ratio - 1) * step.plain
    loader = gpus * cluster.cores * step.loader
    plain = gpus * step.batch_size / (step.plain + method)
    hard = gpus * step.batch_size / (step.plain + selecting + waiting)
    limit = 'loader' if loader < hard else 'network' if waiting > selecting else 'selection'
    return Throughput(plain, min(hard, loader), waiting, loader, limit)


def thresholds(step: Step, gpus: int) -> dict[str, float]:
    """Where each becomes the limit.

    Returns:
        ``cores`` per GPU below which the loader is the limit, without a network; and the bytes a
        second of the slowest link below which, among ``gpus``, the network ``begins`` to stop a
        step with gradients alone, and ``costs`` more than the selection.
    """
    sent = {name: sum(one.sent(gpus) for one in found) for name, found in step.traffic.items()}
    hidden, selecting = step.overlap * step.plain, (step.ratio - 1) * step.plain
    others = sent['selection'] + sent['loss']
    # Both are where the seconds of a link are those that it may take.
    alone = others / selecting if selecting else inf
    with_gradients = (sent['gradients'] + others) / (hidden + selecting)
    return {
        'cores': step.batch_size / (step.ratio * step.plain) / step.loader,
        'begins': sent['gradients'] / hidden if hidden else inf,
        'costs': max(alone, with_gradients),
    }


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('config', help='with hard view selection')
    known = parser.add_argument_group('a step on one GPU')
    known.add_argument(
        '--gpu-check', metavar='FILE', help='take the numbers of this config from gpu_check.json'
    )
    for name, text in (
        ('images-per-second', 'of the step without selection'),
        ('ratio', 'of the step with hard views to that step'),
        ('batch-size', 'images of a GPU (default: 64)'),
        ('loader', 'images a second that a core draws (default: never too few)'),
    ):
        known.add_argument(f'--{name}', type=positive, help=text)
    known.add_argument(
        '--overlap',
        type=positive,
        default=0.5,
        help='share of the step without selection in which gradients travel (default: 0.5)',
    )
    cluster = parser.add_argument_group('the machines')
    for name, default, text in (
        ('gpus', 8, 'of a machine'),
        ('cores', 8, 'that draw views, per GPU'),
        ('within', 100, 'GB/s from one GPU of a machine to another'),
        ('between', 12.5, 'GB/s from one machine to another'),
    ):
        shown = f'{text} (default: {default})'
        cluster.add_argument(f'--{name}', type=positive, default=default, help=shown)
    return parser.parse_args(argv)


def positive(text: str) -> float:
    """The type of an option that is a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = nan
    if not 0 < value < inf:
        raise argparse.ArgumentTypeError(f'{text!r} must be a number above 0')
    return value


def read_step(args: argparse.Namespace) -> Step:
    """The step of a config with the numbers of the command line, or else of a GPU check.

    Raises:
        ValueError: If a number is missing.
    """
    numbers = checked_numbers(args.gpu_check, args.config) if args.gpu_check else {}
    for name in ('images_per_second', 'ratio', 'batch_size', 'loader'):
        if getattr(args, name) is not None:
            numbers[name] = getattr(args, name)
    missing = [name for name in ('images_per_second', 'ratio') if name not in numbers]
    if missing:
        options = ' and '.join(f'--{name.replace("_", "-")}' for name in missing)
        raise ValueError(f'{options} must be given, or --gpu-check with a file that has them.')
    batch_size = int(numbers.get('batch_size', 64))
    model = selecting_model(read_merged_config(args.config, {}))
    return Step(
        batch_size,
        batch_size / numbers['images_per_second'],
        numbers['ratio'],
        args.overlap,
        numbers.get('loader', inf),
        formula(model, batch_size),
    )


def checked_numbers(path: str, config: str) -> dict[str, float]:
    """What a GPU check has measured of a config: eager, without the fast mode.

    Raises:
        ValueError: If it has not measured it.
    """
    rows = json.loads(Path(path).read_text(encoding='utf-8'))['parts']
    steps = [row['result'] for row in rows if row['kind'] == 'step' and row['result']]
    name = Path(config).name
    found = [
        step
        for step in steps
        if Path(step['config']).name == name and not step['compiled'] and not step['selection_pass']
    ]
    if not found:
        known = sorted({Path(step['config']).name for step in steps})
        raise ValueError(f'--gpu-check {path} has no eager step of {name}, it has {known}.')
    numbers = {
        'images_per_second': found[0]['images_per_second']['vanilla'],
        'ratio': found[0]['ratio']['median'],
        'batch_size': found[0]['batch_size'],
    }
    for row in rows:
        result = row['result'] if row['kind'] == 'photometry' else None
        if result and result['method'] == found[0]['method']:
            numbers['loader'] = 1e3 / result['loader']['loading']
    return numbers


def describe(step: Step, cluster: Cluster) -> str:
    """The table and the limits, in Markdown."""
    lines = [
        '| GPUs | images/s, plain | images/s, hard views | loader, images/s | network, ms a step | '
        'limit |',
        '| --- | --- | --- | --- | --- | --- |',
    ]
    for gpus in GPUS:
        found = throughput(step, cluster, gpus)
        loader = f'{found.loader:,.0f}' if found.loader < inf else ''
        lines.append(
            f'| {gpus} | {found.plain:,.0f} | {found.hard:,.0f} | {loader} | '
            f'{1e3 * found.waiting:.1f} | {found.limit} |'
        )
    at = thresholds(step, GPUS[-1])
    limits = [
        f'network: {GPUS[-1]} GPUs wait for gradients below {at["begins"] / 1e9:.2g} GB/s; below '
        f'{at["costs"] / 1e9:.2g} GB/s that costs more than the selection'
    ]
    if step.loader < inf:
        limits.insert(0, f'loader: below {at["cores"]:.2g} cores per GPU')
    return '\n'.join([*lines, '', *(f'- {limit}' for limit in limits)])


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    with one_line_errors():
        step = read_step(args)
        cluster = Cluster(int(args.gpus), args.cores, 1e9 * args.within, 1e9 * args.between)
        print(describe(step, cluster))


if __name__ == '__main__':
    main()
