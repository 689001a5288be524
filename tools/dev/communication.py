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

import torch
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from rich.console import Console
from rich.table import Table
from torch import distributed, nn
from torch.multiprocessing import start_processes

from hvs_mm.engine import (
    CPUDistributedDataParallel,
    add_config_options,
    build_model,
    error_line,
    merge_options,
    read_config,
)
from hvs_mm.models import HVSAlgorithm
from hvs_mm.profiling import random_batch
from hvs_mm.profiling.communication import Collective, StepTraffic, count_step, formula

_PARTS = ('selection', 'loss', 'gradients')
_NORMS = ('selection_norms', 'loss_norms')


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    try:
        tables = []
        for path in args.configs:
            cfg = load(path, args.cfg_options)
            selecting_model(cfg)
            tables.append(measure(cfg, path, args))
    except (KeyError, OSError, TypeError, ValueError) as error:
        sys.exit(error_line(error))
    for table in tables:
        Console(width=140 if not sys.stdout.isatty() else None).print(table)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('configs', nargs='+', metavar='CONFIG', help='with hard view selection')
    parser.add_argument(
        '--processes', type=int, nargs='+', default=[1, 2, 4], help='to measure (default: 1 2 4)'
    )
    parser.add_argument('--batch-size', type=int, default=2, help='images per process (default: 2)')
    parser.add_argument(
        '--extrapolate', type=int, default=64, help='processes to compute for (default: 64)'
    )
    parser.add_argument(
        '--extrapolate-batch-size', type=int, help='images per process there; the same by default'
    )
    add_config_options(parser, 'model.candidates="[8]"')
    args = parser.parse_args(argv)
    numbers = {
        '--processes': min(args.processes),
        '--batch-size': args.batch_size,
        '--extrapolate': args.extrapolate,
        '--extrapolate-batch-size': args.extrapolate_batch_size or 1,
    }
    for option, value in numbers.items():
        if value < 1:
            parser.error(f'{option} {value}: it must be at least 1.')
    return args


def load(path: str, options: dict) -> Config:
    cfg = read_config(path)
    merge_options(cfg, options)
    return cfg


def selecting_model(cfg: Config) -> HVSAlgorithm:
    init_default_scope('mmpretrain')
    MMLogger.get_current_instance().setLevel('ERROR')
    model = build_model(cfg)
    if not isinstance(model, HVSAlgorithm):
        raise ValueError(
            f'{cfg.filename} builds a {type(model).__name__}, which selects no views: name a '
            'config with model.type=HVSAlgorithm.'
        )
    return model


def measure(cfg: Config, path: str, args: argparse.Namespace) -> Table:
    """A row for every number of processes measured, and one for the number computed."""
    table = Table(title=f'{path}: bytes that a process hands in per step, (calls)')
    columns = ('processes', 'batch each', 'select', 'by formula', 'loss', 'by formula',
               'gradients', 'by formula', 'SyncBN, select', 'SyncBN, loss')  # fmt: skip
    for name in columns:
        table.add_column(name, justify='right')
    model = selecting_model(cfg)
    # The processes are forked from one that has imported the package.
    multiprocessing.set_forkserver_preload(['hvs_mm.engine', 'hvs_mm.profiling.communication'])
    for processes in args.processes:
        with tempfile.TemporaryDirectory() as folder:
            start_processes(
                run_rank,
                args=(processes, folder, path, args.cfg_options, args.batch_size),
                nprocs=processes,
                start_method='forkserver',
            )
            traffic: StepTraffic = pickle.loads(Path(folder, 'traffic').read_bytes())
        expected = formula(model, args.batch_size) if processes > 1 else {}
        cells = []
        for part in _PARTS:
            cells += [shown(getattr(traffic, part)), shown(expected.get(part, []))]
        norms = [shown(getattr(traffic, part) if processes > 1 else []) for part in _NORMS]
        table.add_row(str(processes), str(args.batch_size), *cells, *norms)
    table.add_section()
    batch_size = args.extrapolate_batch_size or args.batch_size
    expected = formula(model, batch_size)
    norms = {part: getattr(traffic, part) for part in _NORMS}
    for name, show in (
        ('', shown),
        (' sent in a ring', lambda found: sent(found, args.extrapolate)),
    ):
        cells = []
        for part in _PARTS:
            cells += ['', show(expected[part])]
        table.add_row(
            f'{args.extrapolate}{name}',
            str(batch_size),
            *cells,
            *(show(norms[part]) for part in _NORMS),
        )
    return table


def run_rank(
    rank: int, processes: int, folder: str, path: str, options: dict, batch_size: int
) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=processes
    )
    cfg = load(path, options)
    model = selecting_model(cfg).train()
    hub = MessageHub.get_current_instance()
    # A step in which views are selected, and masked; BYOL reads the length of the run.
    hub.update_info('epoch', max(model.schedule.warmup, getattr(model.head, 'mask_start_epoch', 0)))
    hub.update_info('max_iters', 100)

    def wrap(model: nn.Module) -> nn.Module:
        if processes == 1:
            return revert_sync_batchnorm(model)
        find = cfg.get('find_unused_parameters', False)
        return CPUDistributedDataParallel(
            model, broadcast_buffers=False, find_unused_parameters=find
        )

    traffic = count_step(model, wrap, random_batch(cfg, batch_size))
    if rank == 0:
        Path(folder, 'traffic').write_bytes(pickle.dumps(traffic))
    distributed.barrier()
    distributed.destroy_process_group()


def shown(found: Sequence[Collective]) -> str:
    return f'{sum(one.size for one in found):,} ({len(found)})' if found else '0'


def sent(found: Sequence[Collective], processes: int) -> str:
    return f'{sum(one.sent(processes) for one in found):,}'


if __name__ == '__main__':
    main()
