"""What hard view selection costs: its step against the same step without, and against the floor.

Each config's steps run in turn, in one process, on random images. The step without selection trains
on as many views as selection keeps, with the same model and optimizer. The floor is what no
selection from all candidates can go below: their forward pass once, without gradient, and the step
without selection, minus what that need not compute again (the teacher's outputs of the kept views).
It is counted in floating-point operations, and measured in seconds with a bare forward pass.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from contextlib import nullcontext
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmpretrain.registry import OPTIMIZERS
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hvs_mm.engine import (
    add_config_options,
    add_trust_option,
    build_model,
    check_trust,
    error_line,
    merge_options,
    read_config,
    trust_checkpoints,
)
from hvs_mm.models import HVSAlgorithm
from hvs_mm.profiling import StepCost, Steps, Times, measure_step, random_batch
from hvs_mm.profiling.step import PARTS

_DTYPES = {'fp32': None, 'bf16': torch.bfloat16}


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    try:
        device = torch.device(args.device)
        if device.type == 'cuda' and not torch.cuda.is_available():
            raise ValueError('--device cuda: torch sees no GPU here, leave it out for the CPU.')
        if args.threads:
            torch.set_num_threads(args.threads)
        # What the models tell of their weights and parameter groups would bury the tables.
        MMLogger.get_current_instance().setLevel('ERROR')
        # Where MMPretrain's optimizers are found, such as LARS.
        init_default_scope('mmpretrain')
        results = {}
        for path in args.configs:
            results[path] = measure(path, args, device)
            show(path, results[path])
    except (KeyError, OSError, TypeError, ValueError, RuntimeError) as error:
        sys.exit(error_line(error))
    if args.json:
        with open(args.json, 'w', encoding='utf-8') as file:
            costs = {path: cost.as_dict() for path, cost in results.items()}
            json.dump({'settings': settings(args, device), 'configs': costs}, file, indent=1)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('configs', nargs='+', metavar='CONFIG', help='with hard view selection')
    parser.add_argument('--batch-size', type=_positive, default=8, help='images (default: 8)')
    parser.add_argument('--repeats', type=_positive, default=5, help='rounds (default: 5)')
    parser.add_argument(
        '--device',
        default='cuda' if torch.cuda.is_available() else 'cpu',
        choices=['cpu', 'cuda'],
        help='by default the GPU, if there is one',
    )
    parser.add_argument(
        '--dtype', default='fp32', choices=sorted(_DTYPES), help='bf16 runs under autocast'
    )
    parser.add_argument(
        '--compile',
        action='store_true',
        help='torch.compile both losses and the bare forward pass, not the parts',
    )
    parser.add_argument('--channels-last', action='store_true', help='memory format of all images')
    parser.add_argument('--fused', action='store_true', help='the fused form of the optimizer')
    parser.add_argument('--threads', type=_positive, help='of torch on the CPU')
    parser.add_argument('--no-memory', action='store_true', help='leave the peaks of memory out')
    parser.add_argument('--json', metavar='FILE', help='write all numbers there')
    add_trust_option(parser)
    add_config_options(parser, 'model.selection_pass.scale=0.5')
    return parser.parse_args(argv)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text!r} must be a whole number, at least 1')
    return int(text)


def measure(path: str, args: argparse.Namespace, device: torch.device) -> StepCost:
    """Measure one config."""
    cfg = read_config(path)
    merge_options(cfg, args.cfg_options)
    if args.trust:
        trust_checkpoints(cfg)
    torch.manual_seed(0)
    layout = torch.channels_last if args.channels_last else torch.contiguous_format
    model = build_model(cfg, args.trust)
    if not isinstance(model, HVSAlgorithm):
        raise ValueError(
            f'{path} builds a {type(model).__name__}, which selects no views: name a config with '
            'model.type=HVSAlgorithm. The step without selection is measured along with it.'
        )
    check_trust(cfg, model, args.trust)
    model.init_weights()
    model.to(device, memory_format=layout).train()
    # Steps of an epoch in which views are selected.
    MessageHub.get_current_instance().update_info('epoch', model.schedule.warmup)
    dtype = _DTYPES[args.dtype]
    steps = Steps(
        model,
        build_optim_wrapper(model, optimizer_of(cfg, args.fused)),
        lambda views: random_batch(cfg, args.batch_size, views, device, layout),
        partial(torch.autocast, device.type, dtype) if dtype else nullcontext,
        torch.compile if args.compile else lambda loss: loss,
    )
    return measure_step(steps, device, args.repeats, memory=not args.no_memory)


def optimizer_of(cfg: Config, fused: bool) -> dict[str, Any]:
    """The optimizer of a config; its precision is this tool's own option."""
    wrapper = cfg.optim_wrapper
    optimizer = dict(wrapper.optimizer)
    if fused:
        takes = signature(OPTIMIZERS.get(optimizer['type'])).parameters
        if 'fused' not in takes:
            raise ValueError(
                f'--fused: the optimizer {optimizer["type"]} of {cfg.filename} has no fused form. '
                'Leave the option out.'
            )
        optimizer['fused'] = True
    return {
        'type': 'OptimWrapper',
        'optimizer': optimizer,
        'paramwise_cfg': wrapper.get('paramwise_cfg'),
    }


def settings(args: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """What the numbers hold for."""
    on_gpu = device.type == 'cuda'
    return {
        'device': torch.cuda.get_device_name(device) if on_gpu else processor(),
        'torch': torch.__version__,
        'threads': torch.get_num_threads(),
        **{
            name: getattr(args, name)
            for name in (
                'batch_size',
                'repeats',
                'dtype',
                'compile',
                'channels_last',
                'fused',
                'cfg_options',
            )
        },
    }


def processor() -> str:
    """The name of the CPU, as far as the system tells."""
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.machine()


def show(path: str, cost: StepCost) -> None:
    """Print the numbers of a config."""
    table = Table('', 'median', 'lowest', 'highest', title=Text(path), title_justify='left')

    def add(name: str, times: Times, form: str = '{:.1f} ms', factor: float = 1e3) -> None:
        values = (times.median, times.low, times.high)
        table.add_row(name, *(form.format(factor * value) for value in values))

    vanilla, hvs = cost.images_per_second()
    add('vanilla step', cost.vanilla)
    add('HVS step', cost.hvs)
    for part in PARTS:
        add(f'  {part.replace("_", " ")}', cost.parts[part])
    add('bare forward of all candidates', cost.bare)
    add('teacher that is not run again', cost.reused)
    add('ratio HVS / vanilla', cost.ratio, '{:.3f}', 1)
    add('measured floor', cost.measured_floor, '{:.3f}', 1)
    table.add_row('counted floor', f'{cost.counted_floor:.3f}')
    add('ratio / measured floor', cost.over_measured, '{:.3f}', 1)
    add('ratio / counted floor', cost.over_counted, '{:.3f}', 1)
    add('pair loss, pick and gather', cost.selecting, '{:.2f} %', 100)
    table.add_row('images per second', f'{vanilla:.1f} vanilla', f'{hvs:.1f} HVS')
    if cost.hvs_memory is not None:
        peaks = [f'{peak / 2**20:.0f} MiB' for peak in (cost.vanilla_memory, cost.hvs_memory)]
        share = cost.hvs_memory / cost.vanilla_memory
        table.add_row('peak memory', f'{peaks[0]} vanilla', f'{peaks[1]} HVS', f'{share:.3f}')
    Console(width=100).print(table)


if __name__ == '__main__':
    main()
