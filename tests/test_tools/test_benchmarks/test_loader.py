"""``tools/benchmarks/loader.py``: what it measures and reports, not how long that takes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain.utils import register_all_modules

from tests.helpers.tools import ROOT, load_tool

DEMO = ROOT / 'configs' / 'demo' / 'hvs_simsiam.py'
SIMSIAM = ROOT / 'configs' / 'hvs_simsiam_100e.py'
DINO = ROOT / 'configs' / 'hvs_dino_300e.py'

pytestmark = [
    pytest.mark.usefixtures('own_folder'),
    pytest.mark.filterwarnings("ignore:Only use 'alpha' for pillow"),
]


@pytest.fixture
def folder(tmp_path):
    """Four images of 40 x 60 in two folders, one of them gray, and a text."""
    rng = np.random.default_rng(0)
    for number in range(4):
        image = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
        path = tmp_path / f'class_{number % 2}' / f'{number}.{"JPEG" if number else "png"}'
        path.parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(path), image[..., 0] if number == 1 else image)
    (tmp_path / 'readme.txt').write_text('no image')
    return tmp_path


def run(*args):
    load_tool('benchmarks/loader').main([*map(str, args), '--json', 'new/numbers.json'])
    return json.loads(Path('new/numbers.json').read_text())


def check_numbers(numbers):
    number = sum(numbers['views'])
    for side in ('upstream', 'ours'):
        of = numbers[side]
        images, views = of['images_per_second'], of['views_per_second']
        assert 0 < images['min'] <= images['median'] <= images['max']
        assert views['median'] == pytest.approx(number * images['median'])
        milliseconds = of['milliseconds']
        for stage, taken in milliseconds.items():
            assert 0 <= taken['min'] <= taken['median'] <= taken['max'], stage
        if numbers['repeats'] == 1:
            whole = ('decode', 'before the views', 'views', 'after the views', 'pack', 'collate')
            total = sum(milliseconds[stage]['median'] for stage in whole if stage in milliseconds)
            assert total == pytest.approx(1000 / images['median'])
    upstream, ours = (numbers[side]['milliseconds'] for side in ('upstream', 'ours'))
    assert list(upstream) == list(ours)
    if numbers['repeats'] == 1:
        ratio = upstream['views']['median'] / ours['views']['median']
        assert numbers['ratio']['views']['median'] == pytest.approx(ratio)


def test_images_of_a_folder(folder, capsys):
    numbers = run(SIMSIAM, '--images', folder, '--num-images', 3, '--repeats', 1)
    check_numbers(numbers)
    assert set(numbers) == {
        'config', 'core', 'versions', 'views', 'images', 'repeats', 'upstream', 'ours',
        'difference', 'ratio',
    }  # fmt: skip
    assert numbers['views'] == [4]
    assert numbers['repeats'] == 1
    images = numbers['images']
    assert (images['number'], images['source']) == (3, f'images of {folder}')
    assert images['height'] == {'median': 40, 'min': 40, 'max': 40}
    assert images['width'] == {'median': 60, 'min': 60, 'max': 60}
    assert list(numbers['ours']['milliseconds']) == [
        'decode', 'crop, resize', 'flip', 'brightness', 'contrast', 'saturation', 'hue',
        'grayscale', 'blur', 'rest of the views', 'views', 'pack', 'collate',
    ]  # fmt: skip
    output = capsys.readouterr().out
    assert output.startswith(f'{SIMSIAM}: 4 views [4] of an image\n3 images of {folder}\n')
    assert 'height x width 40 x 60' in output
    ratio = numbers['ratio']['loader']['median']
    assert f'from JPEG to batch: {ratio:.2f} times as fast [' in output


def test_a_glob_and_fewer_images_than_asked_for(folder):
    pattern = f'{folder}/**/*.JPEG'
    numbers = run(SIMSIAM, '--images', pattern, '--repeats', 2)
    check_numbers(numbers)
    assert numbers['images']['number'] == 3
    assert numbers['repeats'] == 2


def test_synthetic_images_where_the_config_has_none(capsys):
    numbers = run(SIMSIAM, '--num-images', 2, '--repeats', 1)
    check_numbers(numbers)
    assert numbers['images']['height']['max'] == 375
    assert numbers['images']['width']['max'] == 500
    assert numbers['images']['source'] == (
        "synthetic JPEGs, as 'data/imagenet/' of the config does not exist"
    )
    assert "2 synthetic JPEGs, as 'data/imagenet/'" in capsys.readouterr().out


def test_synthetic_images_are_like_photographs():
    photograph = load_tool('benchmarks/_images').photograph
    images = [photograph(200, 300, number).astype(float) for number in range(4)]
    assert not np.array_equal(images[0], images[1])
    for image in images:
        assert image.shape == (200, 300, 3)
        assert 25 < image.std() < 90
        # Neighbors resemble each other, the more the nearer they are; so do the channels.
        gray = image.mean(axis=2)
        steps = [np.abs(gray[:, k:] - gray[:, :-k]).mean() for k in (1, 4, 16)]
        assert steps[0] < 0.7 * steps[1] < 0.7 * steps[2]
        assert np.corrcoef(image.reshape(-1, 3).T).min() > 0.7


def test_images_of_the_config(folder):
    root = folder / 'data'
    (root / 'train').mkdir(parents=True)
    (folder / 'class_0').rename(root / 'train' / 'class_0')
    options = [
        f'train_dataloader.dataset.data_root={root}',
        'train_dataloader.dataset.with_label=False',
    ]
    numbers = run(SIMSIAM, '--num-images', 2, '--repeats', 1, '--cfg-options', *options)
    assert numbers['images']['source'].startswith('images of the config (')
    assert numbers['images']['height']['max'] == 40


def test_images_that_a_data_set_draws():
    numbers = run(DEMO, '--num-images', 2, '--repeats', 1)
    check_numbers(numbers)
    assert 'drawn by ShapesDataset' in numbers['images']['source']
    assert numbers['images']['width'] == {'median': 64, 'min': 64, 'max': 64}


def test_groups_solarization_and_masks(folder):
    for config, views in (
        (ROOT / 'configs' / 'hvs_ibot_300e.py', [1, 3, 10]),
        (ROOT / 'configs' / 'baselines' / 'dino_vit-small_300e.py', [1, 1, 8]),
    ):
        numbers = run(config, '--images', folder, '--num-images', 2, '--repeats', 1)
        check_numbers(numbers)
        assert numbers['views'] == views
        stages = numbers['ours']['milliseconds']
        assert 'solarize' in stages
        assert ('after the views' in stages) == ('ibot' in config.name)


def test_what_is_measured_is_what_the_config_trains_with(folder):
    """Both sides give the views that the pipeline of the data set gives."""
    register_all_modules()
    tool = load_tool('benchmarks/_loading')
    views = tool.read_views(Config.fromfile(DINO))
    content = next(folder.rglob('*.JPEG')).read_bytes()
    ours, upstream = (
        tool.Loader(side, views, False).load(content, 5)[0] for side in ('ours', 'upstream')
    )
    assert len(ours['inputs']) == len(upstream['inputs']) == 20
    for first, second in zip(ours['inputs'], upstream['inputs']):
        assert (first.int() - second.int()).abs().float().mean() < 0.05
    assert ours['data_samples'].view_boxes.shape == (20, 4)


def test_stages_of_the_views_are_complete(folder):
    """The transforms are counted in the runs by stage, and only there; nothing is left out."""
    register_all_modules()
    tool = load_tool('benchmarks/_loading')
    views = tool.read_views(Config.fromfile(SIMSIAM))
    content = next(folder.rglob('*.JPEG')).read_bytes()
    for side in ('ours', 'upstream'):
        plain, counted = tool.Loader(side, views, False), tool.Loader(side, views, True)
        _, stages = plain.load(content, 0)
        assert list(stages) == ['decode', 'views', 'pack']
        packed, stages = counted.load(content, 0)
        assert set(stages) == {
            'crop, resize', 'flip', 'brightness', 'contrast', 'saturation', 'hue', 'grayscale',
            'blur', 'rest of the views',
        }  # fmt: skip
        assert all(taken > 0 for taken in stages.values())
        assert len(packed['inputs']) == 4
        # Only the last image counts.
        assert counted.clock.read() == counted.inner.read() == {}


def test_how_much_the_views_differ(folder):
    views = ['--images', folder, '--num-images', 3, '--repeats', 2]
    fast = run(SIMSIAM, *views)['difference']
    assert 0 < fast['share'] < 0.02
    assert fast['share_over_2'] <= fast['share_over_1'] < 0.005
    config = Path('exact.py')
    config.write_text(
        f"_base_ = '{SIMSIAM}'\n"
        'pipeline = _base_.train_dataloader.dataset.pipeline\n'
        "pipeline[1]['exact'] = True\n"
        'train_dataloader = dict(dataset=dict(pipeline=pipeline))\n'
    )
    exact = run(config, *views)['difference']
    assert exact == {'share': 0.0, 'share_over_1': 0.0, 'share_over_2': 0.0}


def test_levels_are_counted():
    count = load_tool('benchmarks/_loading').levels_off
    first = [torch.tensor([[0, 9, 255]], dtype=torch.uint8), torch.tensor([7], dtype=torch.uint8)]
    second = [
        torch.tensor([[255, 8, 255]], dtype=torch.uint8),
        torch.tensor([9], dtype=torch.uint8),
    ]
    off = count(first, second)
    assert dict(zip(off.nonzero()[0].tolist(), off[off > 0].tolist())) == {0: 1, 1: 1, 2: 1, 255: 1}


def test_further_arguments_of_candidate_views_are_kept():
    tool = load_tool('benchmarks/_loading')
    cfg = Config.fromfile(SIMSIAM)
    cfg.train_dataloader.dataset.pipeline[1]['exact'] = True
    register_all_modules()
    views = tool.read_views(cfg)
    assert views.options == {'exact': True}
    assert views.build('ours', views.transforms).exact


def test_the_process_gets_its_cores_and_threads_back():
    tool = load_tool('benchmarks/loader')
    threads = torch.get_num_threads(), cv2.getNumThreads()
    cores = os.sched_getaffinity(0) if hasattr(os, 'sched_getaffinity') else None
    with tool.one_core() as core:
        assert torch.get_num_threads() == 1
        if cores:
            assert os.sched_getaffinity(0) == {core}
    assert (torch.get_num_threads(), cv2.getNumThreads()) == threads
    assert cores is None or os.sched_getaffinity(0) == cores


def test_work_left_to_the_device_is_not_compared(capsys):
    config = str(ROOT / 'configs/device_photometry/hvs_simsiam_100e_device.py')
    with pytest.raises(SystemExit) as error:
        load_tool('benchmarks/loader').main([config])
    assert "photometry='device'" in str(error.value)
    assert 'tools/benchmarks/device_photometry.py' in str(error.value)


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['missing.py'], "config 'missing.py' does not exist"),
        ([SIMSIAM, '--images', 'nowhere'], '--images nowhere: no file matches'),
        ([SIMSIAM, '--images', 'empty'], '--images empty: folder without images .*jpg'),
        ([SIMSIAM, '--images', 'empty/*.jpg'], r'--images empty/\*.jpg: no file matches'),
        ([SIMSIAM, '--images', 'broken'], 'broken/1.jpg cannot be read as an image'),
        ([SIMSIAM, '--images', 'nothing'], 'nothing/1.jpg cannot be read as an image'),
        ([ROOT / 'configs/_base_/hvs.py'], r'hvs.py draws no views: its training pipeline is \[\]'),
        ([SIMSIAM, '--cfg-options', 'train_dataloder.batch_size=1'], 'train_dataloder'),
    ],
)
def test_bad_input(args, message):
    for name, content in (
        ('empty/readme.txt', b'no'),
        ('broken/1.jpg', b'no'),
        ('nothing/1.jpg', b''),
    ):
        Path(name).parent.mkdir()
        Path(name).write_bytes(content)
    with pytest.raises(SystemExit, match=f'^error: .*{message}'):
        load_tool('benchmarks/loader').main(list(map(str, args)))


@pytest.mark.parametrize('option', ['--num-images', '--repeats'])
def test_counts_must_be_positive(option, capsys):
    with pytest.raises(SystemExit):
        load_tool('benchmarks/loader').main([str(SIMSIAM), option, '0'])
    assert f"argument {option}: '0' must be a whole number, at least 1" in capsys.readouterr().err


def test_a_classifier_draws_no_views(tmp_path):
    path = tmp_path / 'classifier.py'
    path.write_text("_base_ = 'mmpretrain::resnet/resnet18_8xb32_in1k.py'")
    with pytest.raises(SystemExit, match=r"draws no views: its training pipeline is \['LoadImage"):
        load_tool('benchmarks/loader').main([str(path)])
