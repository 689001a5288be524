"""What hard view selection costs: its step against the same step without, and against the floor.

Each config's steps run in turn, in one process, on random images. The step without selection trains
on as many views as selection keeps, with the same model and optimizer. The floor is what no
selection from all candidates can go below: their forward pass once, without gradient, and the step
without selection, minus what that need not compute again (the teacher's outputs of the kept views).
It is counted in floating-point operations, and measured in seconds with a bare forward pass.
Selectors that take no forward pass, such as lowest_iou, have the step without selection as floor.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import torch
from _building import build_steps, device_name
from _measuring import benchmark_parser
from _steps import PARTS, measure_step
from _workload import random_batch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hvs_mm.engine import (
    add_trust_option,
    build_trusted_model,
    one_line_errors,
    read_merged_config,
    write_json,
)

#: Options that the numbers depend on.
_SETTINGS = ('batch_size', 'repeats', 'dtype', 'compile', 'channels_last', 'fused', 'cfg_options')
#: Rows of the table: name, label, format and factor of the number.
_ROWS = (
    ('vanilla', 'vanilla step', '{:.1f} ms', 1e3),
    ('hvs', 'HVS step', '{:.1f} ms', 1e3),
    *((part, f'  {part.replace("_", " ")}', '{:.1f} ms', 1e3) for part in PARTS),
    ('bare', 'bare forward of all candidates', '{:.1f} ms', 1e3),
    ('reused', 'teacher that is not run again', '{:.1f} ms', 1e3),
    ('ratio', 'ratio HVS / vanilla', '{:.3f}', 1),
    ('measured_floor', 'measured floor', '{:.3f}', 1),
    ('over_measured', 'ratio / measured floor', '{:.3f}', 1),
    ('over_counted', 'ratio / counted floor', '{:.3f}', 1),
    ('selecting', 'pair loss, pick and gather', '{:.2f} %', 100),
)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = benchmark_parser(
        __doc__,
        'model.selection_pass.scale=0.5',
        several=True,
        batch_size=(8, 'images'),
        repeats=(5, 'rounds'),
        threads=(None, 'threads of torch on the CPU'),
    )
    parser.add_argument(
        '--device',
        default='cuda' if torch.cuda.is_available() else 'cpu',
        choices=['cpu', 'cuda'],
        help='by default the GPU, if there is one',
    )
    parser.add_argument(
        '--dtype', default='fp32', choices=['bf16', 'fp32'], help='bf16 runs under autocast'
    )
    parser.add_argument(
        '--compile',
        action='store_true',
        help='torch.compile both losses and the bare forward pass, not the parts',
    )
    parser.add_argument('--channels-last', action='store_true', help='memory format of all images')
    parser.add_argument('--fused', action='store_true', help='the fused form of the optimizer')
    parser.add_argument('--no-memory', action='store_true', help='leave the peaks of memory out')
    parser.add_argument('--json', metavar='FILE', help='write all numbers there')
    add_trust_option(parser)
    return parser.parse_args(argv)


def measure(path: str, args: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Measure one config."""
    cfg = read_merged_config(path, args.cfg_options)
    layout = torch.channels_last if args.channels_last else torch.contiguous_format
    steps = build_steps(
        cfg,
        device,
        lambda views: random_batch(cfg, args.batch_size, views, device, layout),
        dtype=args.dtype,
        layout=layout,
        compile_loss=torch.compile if args.compile else lambda loss: loss,
        fused=args.fused,
        build=partial(build_trusted_model, trust=args.trust),
    )
    return measure_step(steps, device, args.repeats, memory=not args.no_memory)


def settings(args: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """The machine and the options that the numbers hold for."""
    return {
        'device': device_name(device),
        'torch': torch.__version__,
        'threads': torch.get_num_threads(),
        **{name: getattr(args, name) for name in _SETTINGS},
    }


def show(path: str, cost: dict[str, Any]) -> None:
    """Print the numbers of a config."""
    table = Table('', 'median', 'lowest', 'highest', title=Text(path), title_justify='left')
    times = {**cost, **cost['parts']}
    for name, label, form, factor in _ROWS:
        table.add_row(label, *(form.format(factor * value) for value in times[name].values()))
        if name == 'measured_floor':
            table.add_row('counted floor', f'{cost["counted_floor"]:.3f}')
    vanilla, hvs = (cost['batch_size'] / cost[step]['median'] for step in ('vanilla', 'hvs'))
    table.add_row('images per second', f'{vanilla:.1f} vanilla', f'{hvs:.1f} HVS')
    vanilla, hvs = cost['vanilla_memory'], cost['hvs_memory']
    if hvs is not None:
        peaks = f'{vanilla / 2**20:.0f} MiB vanilla', f'{hvs / 2**20:.0f} MiB HVS'
        table.add_row('peak memory', *peaks, f'{hvs / vanilla:.3f}')
    Console(width=100).print(table)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    with one_line_errors(KeyError, OSError, TypeError, ValueError, RuntimeError):
        device = torch.device(args.device)
        if device.type == 'cuda' and not torch.cuda.is_available():
            raise ValueError('--device cuda: torch sees no GPU here, leave it out for the CPU.')
        if args.threads:
            torch.set_num_threads(args.threads)
        costs = {}
        for path in args.configs:
            costs[path] = measure(path, args, device)
            show(path, costs[path])
        if args.json:
            write_json(args.json, {'settings': settings(args, device), 'configs': costs})


if __name__ == '__main__':
    main()
