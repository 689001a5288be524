"""What the loader saves, and the device spends, when the device makes views or their colors.

Times the data set of a config in this process, image by image, and the preprocessor, batch by
batch, with each value of photometry in turn. Prints means per image: CPU time,
which others on the machine leave alone, or the time until a GPU is done.
"""

from __future__ import annotations

import argparse
from copy import deepcopy

from _measuring import Clock, benchmark_parser
from mmengine.config import Config
from mmpretrain.registry import MODELS

from hvs_mm.datasets import join_images
from hvs_mm.engine import build_training_dataset, one_line_errors, read_merged_config
from hvs_mm.utils.state_guard import own_random_numbers

#: By place: the preprocessor.
PLACES = {
    'loader': 'SelfSupDataPreprocessor',
    'device': 'DevicePhotometry',
    'device_views': 'DevicePhotometry',
}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = benchmark_parser(
        __doc__,
        'train_dataloader.dataset.data_root=DIR',
        batch_size=(16, 'images per batch'),
        batches=(4, 'batches of each place'),
    )
    parser.add_argument('--device', default='cpu', help='where the preprocessor runs, cpu')
    return parser.parse_args(argv)


def with_photometry(cfg: Config, place: str) -> Config:
    """The config with its views made in one place.

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


def measure(cfg: Config, args: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """Milliseconds per image by place, of the loader and of the preprocessor."""
    configs = {place: with_photometry(cfg, place) for place in PLACES}
    datasets = {place: build_training_dataset(config) for place, config in configs.items()}
    preprocessors = {
        place: MODELS.build(config.data_preprocessor).to(args.device)
        for place, config in configs.items()
    }
    host, device = Clock(cpu_time=True), Clock(args.device, cpu_time=True)
    size = args.batch_size
    # In turn: the rest of the load of the machine hits both.
    for start in range(0, (args.batches + 1) * size, size):
        for place, dataset in datasets.items():
            positions = [position % len(dataset) for position in range(start, start + size)]
            with own_random_numbers(start), host.part(place):
                samples = [dataset[position] for position in positions]
            batch = join_images(samples)
            with device.part(place):
                preprocessors[place](batch, training=True)
        if start == 0:
            # The first batch warms up.
            host.read()
            device.read()
    loading, preparing, factor = host.read(), device.read(), 1e3 / (args.batches * size)
    return {place: (factor * loading[place], factor * preparing[place]) for place in PLACES}


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    with one_line_errors():
        times = measure(read_merged_config(args.config, args.cfg_options), args)
    for place, (loading, preparing) in times.items():
        print(
            f'photometry={place}: loader {loading:.1f} ms, preprocessor ({args.device}) '
            f'{preparing:.1f} ms per image'
        )
    for place in list(PLACES)[1:]:
        ratio = times['loader'][0] / times[place][0]
        print(f'the loader alone is {ratio:.2f} times as fast with photometry={place}')


if __name__ == '__main__':
    main()
