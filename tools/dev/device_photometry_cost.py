"""What the loader saves, and the device spends, when the device changes the colors of views.

Times the data set of a config in this process, image by image, and the preprocessor, batch by
batch, with photometry in the loader and on the device in turn. Prints means per image: CPU time,
which others on the machine leave alone, or the time until a GPU is done.
"""

from __future__ import annotations

import argparse
import sys
from copy import deepcopy
from time import perf_counter, process_time

import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset, default_collate
from mmpretrain.registry import MODELS
from torch import nn

from hvs_mm.engine import (
    add_config_options,
    build_training_dataset,
    error_line,
    merge_options,
    read_config,
)
from hvs_mm.utils.state_guard import own_random_numbers

#: By place: the preprocessor.
PLACES = {'loader': 'SelfSupDataPreprocessor', 'device': 'DevicePhotometry'}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config of a pretraining run with candidate views')
    parser.add_argument('--batch-size', type=int, default=16, help='images per batch, 16')
    parser.add_argument('--batches', type=int, default=4, help='batches of each place, 4')
    parser.add_argument('--device', default='cpu', help='where the preprocessor runs, cpu')
    add_config_options(parser, 'train_dataloader.dataset.data_root=DIR')
    return parser.parse_args(argv)


def with_photometry(cfg: Config, place: str) -> Config:
    """The config with its colors changed in one place.

    Raises:
        ValueError: If its pipeline draws no candidate views.
    """
    cfg = deepcopy(cfg)
    cfg.data_preprocessor.type = PLACES[place]
    steps = [s for s in cfg.train_dataloader.dataset.pipeline if s.type == 'CandidateViews']
    if not steps:
        raise ValueError(f'{cfg.filename}: its pipeline has no CandidateViews.')
    steps[0].photometry = place
    return cfg


def time_loader(dataset: BaseDataset, start: int, size: int) -> tuple[float, dict]:
    """Seconds for a batch, and the batch."""
    positions = [position % len(dataset) for position in range(start, start + size)]
    with own_random_numbers(start):
        begin = process_time()
        samples = [dataset[position] for position in positions]
        seconds = process_time() - begin
    return seconds, default_collate(samples)


def time_preprocessor(preprocessor: nn.Module, batch: dict) -> float:
    """Seconds for a batch, until the device is done."""
    if preprocessor.device.type != 'cuda':
        begin = process_time()
        preprocessor(batch, training=True)
        return process_time() - begin
    torch.cuda.synchronize()
    begin = perf_counter()
    preprocessor(batch, training=True)
    torch.cuda.synchronize()
    return perf_counter() - begin


def measure(cfg: Config, args: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """Milliseconds per image by place, of the loader and of the preprocessor."""
    configs = {place: with_photometry(cfg, place) for place in PLACES}
    datasets = {place: build_training_dataset(config) for place, config in configs.items()}
    preprocessors = {
        place: MODELS.build(config.data_preprocessor).to(args.device)
        for place, config in configs.items()
    }
    seconds = {place: [0.0, 0.0] for place in PLACES}
    # The first batch warms up. In turn: what else the machine does hits both.
    for number in range(args.batches + 1):
        for place in PLACES:
            loading, batch = time_loader(datasets[place], number * args.batch_size, args.batch_size)
            preparing = time_preprocessor(preprocessors[place], batch)
            if number:
                seconds[place][0] += loading
                seconds[place][1] += preparing
    images = args.batches * args.batch_size
    return {
        place: (1e3 * loading / images, 1e3 * preparing / images)
        for place, (loading, preparing) in seconds.items()
    }


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    try:
        if args.batch_size < 1 or args.batches < 1:
            raise ValueError(
                f'--batch-size {args.batch_size} --batches {args.batches}: both must be at least 1.'
            )
        cfg = read_config(args.config)
        merge_options(cfg, args.cfg_options)
        times = measure(cfg, args)
    except (ImportError, KeyError, OSError, SyntaxError, TypeError, ValueError) as error:
        sys.exit(error_line(error))
    for place, (loading, preparing) in times.items():
        print(
            f'photometry in the {place}: loader {loading:.1f} ms, preprocessor ({args.device}) '
            f'{preparing:.1f} ms per image'
        )
    ratio = times['loader'][0] / times['device'][0]
    print(f'the loader alone is {ratio:.2f} times as fast with photometry on the device')


if __name__ == '__main__':
    main()
