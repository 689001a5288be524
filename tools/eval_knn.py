"""Evaluate the backbone of a checkpoint with a k-NN classifier.

Runs in one process, or in several under torchrun: on GPUs with NCCL, on the CPU with gloo. Prints a
table and writes a JSON file, by default knn_<name of the checkpoint>.json in the work dir of the
checkpoint, or in the current folder if it lies in none:

    {"checkpoint": "work_dirs/run/epoch_100.pth",
     "epoch": 100,               epochs of the training, null if the checkpoint does not say
     "network": "teacher",       or "student" or "backbone"
     "temperature": 0.07,
     "num_bank": 1281167,
     "num_queries": 50000,
     "k": {"10": {"top1": 0.0, "top5": 0.0}, ...}}     accuracies in percent
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from rich.console import Console
from rich.table import Table
from torch import distributed

from hvs_mm.engine import (
    add_config_options,
    add_trust_option,
    one_line_errors,
    read_merged_config,
    tool_parser,
    write_json,
)
from hvs_mm.evaluation import (
    KNNEvaluation,
    KNNResult,
    KNNSettings,
    configured_settings,
    feature_networks,
)
from hvs_mm.reports import is_work_dir, printable
from hvs_mm.runs.run_folder import load_feature_model


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('config', help='config of the pretraining run')
    parser.add_argument('checkpoint', help='its checkpoint, or another one with its backbone')
    settings = parser.add_argument_group('settings; without them those of KNNHook in the config')
    settings.add_argument('--bank', metavar='DIR', help='class folders with images of known class')
    settings.add_argument('--queries', metavar='DIR', help='the same class folders, to classify')
    settings.add_argument('--k', nargs='+', type=int, help='numbers of neighbors')
    settings.add_argument('--temperature', type=float, help='of the votes, 0.07 by default')
    settings.add_argument(
        '--network',
        choices=['teacher', 'student'],
        help='network of DINO and iBOT; the teacher by default',
    )
    settings.add_argument('--batch-size', type=int, help='images per process, 128 by default')
    settings.add_argument('--num-workers', type=int, help='processes that read images')
    parser.add_argument('--device', help='e.g. cpu or cuda:1; a GPU by default if there is one')
    parser.add_argument('--json', metavar='FILE', help='where to write the result')
    add_trust_option(parser)
    add_config_options(parser, 'train_dataloader.dataset.data_root=DIR')
    return parser.parse_args(argv)


def load_settings(args: argparse.Namespace, cfg: Config) -> KNNSettings:
    """Settings of the command line, else of the config's hook, else the defaults."""
    given = {name: getattr(args, name) for name in KNNSettings.__dataclass_fields__}
    given = {name: value for name, value in given.items() if value is not None}
    return KNNSettings(**{**configured_settings(cfg), **given})


def choose_device(name: str | None) -> torch.device:
    """The device of this process; joins the other ones of torchrun.

    Raises:
        ValueError: If there is no such device.
    """
    own_gpu = f'cuda:{os.environ.get("LOCAL_RANK", 0)}'
    if name is None:
        name = own_gpu if torch.cuda.is_available() else 'cpu'
    try:
        device = torch.device(own_gpu if name == 'cuda' else name)
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:
        raise ValueError(f'--device {name}: there is no such device ({error}).') from error
    if device.type == 'cuda':
        torch.cuda.set_device(device)
    if int(os.environ.get('WORLD_SIZE', 1)) > 1:
        distributed.init_process_group('nccl' if device.type == 'cuda' else 'gloo')
    return device


def describe(
    args: argparse.Namespace,
    result: KNNResult,
    network: str,
    temperature: float,
    epoch: int | None,
) -> dict:
    """The content of the JSON file, see the top of this one."""
    return {
        'checkpoint': args.checkpoint,
        'epoch': epoch,
        'network': network,
        'temperature': temperature,
        'num_bank': result.num_bank,
        'num_queries': result.num_queries,
        'k': {str(k): accuracy._asdict() for k, accuracy in result.accuracy.items()},
    }


def show(result: KNNResult, network: str, checkpoint: str) -> None:
    """Print the accuracies as a table."""
    print(
        f'k-NN with the {network} of {printable(checkpoint)}: {result.num_bank} images in the '
        f'bank, {result.num_queries} queries'
    )
    table = Table('k', 'top-1 %', 'top-5 %')
    for column in table.columns:
        column.justify = 'right'
    for k, accuracy in result.accuracy.items():
        table.add_row(str(k), f'{accuracy.top1:.2f}', f'{accuracy.top5:.2f}')
    Console().print(table)


def run(args: argparse.Namespace) -> None:
    cfg = read_merged_config(args.config, args.cfg_options)
    settings = load_settings(args, cfg)
    device = choose_device(args.device)
    model, network, epoch = load_feature_model(cfg, args.checkpoint, settings.network, args.trust)
    settings.network = 'student' if 'student' in feature_networks(model) else None
    evaluate = KNNEvaluation(cfg, settings)
    result = evaluate(model.to(device))
    if is_main_process():
        checkpoint = Path(args.checkpoint)
        suffix = '_student' if network == 'student' else ''
        # A work dir is the run's own; anywhere else a checkpoint may lie in a folder of others.
        folder = checkpoint.parent if is_work_dir(checkpoint.parent) else Path()
        path = Path(args.json or folder / f'knn_{checkpoint.stem}{suffix}.json')
        write_json(path, describe(args, result, network, settings.temperature, epoch))
        show(result, network, args.checkpoint)
        print(f'result: {printable(path)}')


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    with one_line_errors():
        run(args)


if __name__ == '__main__':
    main()
