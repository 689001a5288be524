"""What the processes of a training step with hard view selection send each other.

For every config and number of processes, gloo processes on the CPU carry out steps on random images
and count the bytes that each hands to the collectives of one: to select, for the method's own loss,
and of gradients. Beside the counts stand the formulas, also for more processes than were measured.
torch has SyncBN for GPUs alone: what it would add is counted from the calls of its layers.
"""

from __future__ import annotations

import argparse
import multiprocessing
import pickle
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from _measuring import benchmark_parser, positive_int
from _traffic import Collective, formula, run_rank
from _workload import selecting_model
from rich.console import Console
from rich.table import Table
from torch.multiprocessing import start_processes

from hvs_mm.engine import one_line_errors, read_merged_config

_PARTS = ('selection', 'loss', 'gradients')
_NORMS = ('selection_norms', 'loss_norms')
_COLUMNS = (
    'processes', 'batch each', 'select', 'by formula', 'loss', 'by formula', 'gradients',
    'by formula', 'SyncBN, select', 'SyncBN, loss',
)  # fmt: skip


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = benchmark_parser(
        __doc__,
        'model.candidates="[8]"',
        several=True,
        batch_size=(2, 'images per process'),
        extrapolate=(64, 'processes to compute for'),
        extrapolate_batch_size=(None, 'images per process there; the same by default'),
    )
    parser.add_argument(
        '--processes',
        type=positive_int,
        nargs='+',
        default=[1, 2, 4],
        help='to measure (default: 1 2 4)',
    )
    return parser.parse_args(argv)


def measure(path: str, args: argparse.Namespace) -> Table:
    """A row for every number of processes measured, and two for the number computed."""
    model = selecting_model(read_merged_config(path, args.cfg_options))
    table = Table(title=f'{path}: bytes that a process hands in per step, (calls)')
    for name in _COLUMNS:
        table.add_column(name, justify='right')
    # The processes are forked from one that has imported the package.
    multiprocessing.set_forkserver_preload(['hvs_mm.engine'])
    for processes in args.processes:
        with tempfile.TemporaryDirectory() as folder:
            start_processes(
                run_rank,
                args=(processes, folder, path, args.cfg_options, args.batch_size),
                nprocs=processes,
                start_method='forkserver',
            )
            traffic = pickle.loads(Path(folder, 'traffic').read_bytes())
        expected = formula(model, args.batch_size) if processes > 1 else {}
        cells = [shown(of.get(part, [])) for part in _PARTS for of in (traffic, expected)]
        norms = [shown(traffic[part] if processes > 1 else []) for part in _NORMS]
        table.add_row(str(processes), str(args.batch_size), *cells, *norms)
    table.add_section()
    batch_size = args.extrapolate_batch_size or args.batch_size
    # Of the last number of processes that was measured.
    expected = {**formula(model, batch_size), **{part: traffic[part] for part in _NORMS}}
    for name, processes in (('', None), (' sent in a ring', args.extrapolate)):
        found = {part: shown(of, processes) for part, of in expected.items()}
        cells = [cell for part in _PARTS for cell in ('', found[part])]
        cells += [found[part] for part in _NORMS]
        table.add_row(f'{args.extrapolate}{name}', str(batch_size), *cells)
    return table


def shown(found: Sequence[Collective], processes: int | None = None) -> str:
    """Bytes that a process hands in, and calls; or those that it sends in a ring of processes."""
    if processes is not None:
        return f'{sum(one.sent(processes) for one in found):,}'
    return f'{sum(one.size for one in found):,} ({len(found)})' if found else '0'


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    with one_line_errors(KeyError, OSError, TypeError, ValueError):
        tables = [measure(path, args) for path in args.configs]
    for table in tables:
        Console(width=140 if not sys.stdout.isatty() else None).print(table)


if __name__ == '__main__':
    main()
