"""``tools/browse_views.py`` and ``tools/analysis/pair_loss_vs_iou.py``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmpretrain.registry import DATASETS, MODELS
from PIL import Image

from hvs_mm.datasets import draw_examples
from hvs_mm.engine import load_selecting_model
from hvs_mm.engine.runners.building import tell_epoch
from hvs_mm.visualization import describe_view, draw_candidates, select_examples, to_rgb
from tests.helpers.pictures import photo
from tests.helpers.tools import load_tool

ROOT = Path(__file__).parents[2]
DEMO = ROOT / 'configs' / 'demo' / 'hvs_simsiam.py'
trained_run = load_tool('analysis/_trained_run')


pytestmark = pytest.mark.usefixtures('own_folder')

# --- browse_views ----------------------------------------------------------------------------


def test_browse_views(capsys):
    load_tool('browse_views').main([str(DEMO), '--number', '2'])
    assert capsys.readouterr().out.splitlines()[-1] == 'views: views.png'
    small = Image.open('views.png').size
    load_tool('browse_views').main([str(DEMO), '--number', '4', '--out', 'new/four.png'])
    large = Image.open('new/four.png').size
    assert large[0] == small[0]
    assert large[1] == pytest.approx(2 * small[1], rel=0.02)


def test_the_seed_draws_other_views():
    for seed in ('0', '1', '0'):
        Path('before.png').write_bytes(Path('views.png').read_bytes() if seed != '0' else b'')
        load_tool('browse_views').main([str(DEMO), '--number', '1', '--seed', seed])
        if seed == '0':
            first = Path('views.png').read_bytes()
        else:
            assert Path('views.png').read_bytes() != first
    assert Path('views.png').read_bytes() == first


def test_no_view_is_marked_before_a_selection():
    cfg = Config.fromfile(DEMO)
    figure = draw_candidates(draw_examples(DATASETS.build(cfg.train_dataloader.dataset), [0]))
    original, *views = figure.axes
    assert original.get_title('left') == '64x64'
    assert [axis.get_title() for axis in views] == ['0', '1', '2', '3']
    assert all(patch.get_linestyle() in ('-', 'solid') for patch in original.patches)
    # The demo turns everything gray.
    assert all('gray' in axis.get_xlabel() for axis in views)


def test_captions():
    unchanged = [1, 1, 1, 0, 0, 0, 0]
    assert describe_view(unchanged, [False, False]) == ''
    assert describe_view(unchanged, [True, True]) == 'flip, upside down'
    changed = [1.24, 0.8, 1.1, -0.05, 1.44, 1, 1]
    assert describe_view(changed, [True, False]) == (
        'bri 1.2, con 0.8\nsat 1.1, hue -0.05\nflip, gray, blur 1.4, solarized'
    )


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        ([str(DEMO), '--number', '0'], '--start 0 --number 0: the data set has images 0 to 2047'),
        ([str(DEMO), '--start', '2047'], 'has images 0 to 2047'),
        ([str(DEMO), '--start', '-1'], '--start -1'),
        ([str(ROOT / 'configs/demo/simsiam.py')], 'has no CandidateViews'),
        ([str(ROOT / 'configs/hvs_simsiam_100e.py')], "'data/imagenet/?' does not exist"),
        ([str(ROOT / 'configs/_base_/hvs.py')], 'has no train_dataloader'),
        (['missing.py'], 'missing.py'),
        ([str(DEMO), '--out', 'views'], '--out views: its name must end in .png'),
    ],
)
def test_browse_views_of_bad_input(args, message):
    with pytest.raises(SystemExit, match=f'^error: .*{message}'):
        load_tool('browse_views').main(args)


def test_a_folder_without_class_folders(tmp_path):
    (tmp_path / 'train').mkdir()
    options = [f'train_dataloader.dataset.data_root={tmp_path}']
    with pytest.raises(SystemExit, match=r'train_dataloader\.dataset: '):
        load_tool('browse_views').main(
            [str(ROOT / 'configs/hvs_simsiam_100e.py'), '--cfg-options', *options]
        )


def photographs(folder):
    folder.mkdir()
    for number in range(2):
        Image.fromarray(photo(60, 90, number)).save(folder / f'{number}.png')
    return str(folder)


def test_browse_views_of_own_images(tmp_path, monkeypatch):
    drawn = []
    tool = load_tool('browse_views')
    monkeypatch.setattr(tool, 'to_rgb', lambda figure: drawn.append(figure) or to_rgb(figure))
    tool.main([str(DEMO), '--images', photographs(tmp_path / 'own'), '--number', '2'])
    (figure,) = drawn
    for number in range(2):
        axis = figure.axes[5 * number]
        assert axis.get_title('left') == '90x60'
        assert np.array_equal(axis.images[0].get_array(), photo(60, 90, number))
    with pytest.raises(SystemExit, match=r'^error: .*has images 0 to 1'):
        tool.main([str(DEMO), '--images', str(tmp_path / 'own'), '--number', '3'])
    with pytest.raises(SystemExit, match=r"^error: .*nowhere'? does not exist"):
        tool.main([str(DEMO), '--images', 'nowhere'])


def test_browse_views_marks_what_a_checkpoint_keeps(checkpoint, tmp_path, monkeypatch):
    judged = []
    tool = load_tool('browse_views')

    def select(model, examples):
        judged.append((examples, select_examples(model, examples)))
        return judged[-1][1]

    monkeypatch.setattr(tool, 'select_examples', select)
    options = ['--checkpoint', str(checkpoint), '--number', '2']
    tool.main([str(DEMO), *options, '--images', photographs(tmp_path / 'own')])
    ((examples, selection),) = judged
    # In a batch of the training's size: the two, and training images.
    assert [image.shape for image in examples.images] == [(60, 90, 3)] * 2 + [(64, 64, 3)] * 30
    assert len(selection.indices) == 32
    shown = np.asarray(Image.open('views.png').convert('RGB'))
    assert (shown == (0xD5, 0x5E, 0x00)).all(-1).any()


# --- pair_loss_vs_iou ------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path):
    cfg = Config.fromfile(DEMO)
    cfg.model.data_preprocessor = cfg.data_preprocessor
    path = tmp_path / 'epoch_1.pth'
    torch.save({'state_dict': MODELS.build(cfg.model).state_dict(), 'meta': {}}, path)
    return path


def test_pair_loss_vs_iou(checkpoint, capsys):
    args = [str(DEMO), str(checkpoint), '--images', '70', '--device', 'cpu']
    load_tool('analysis/pair_loss_vs_iou').main(args)
    content = json.loads(Path('pair_loss_vs_iou.json').read_text())
    # Whole batches of 32.
    assert (content['images'], content['pairs']) == (64, 384)
    assert set(content['importance']) == {
        'iou', 'center_distance', 'area_ratio', 'mirrored', 'area',
    }  # fmt: skip
    module, pairs = load_tool('analysis/pair_loss_vs_iou'), load_tool('analysis/_pair_properties')
    model = load_selecting_model(Config.fromfile(DEMO), str(checkpoint))
    cfg = Config.fromfile(DEMO)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    judged = module.judge(model, dataset, cfg, module.parse_args(args))
    iou = judged.properties['iou']
    for name, first, second in (
        ('within_images', pairs.within_images(iou), pairs.within_images(judged.pair_loss)),
        ('overall', iou, judged.pair_loss),
    ):
        assert content['correlation'][name] == pytest.approx(
            pairs.correlate(first, second)._asdict()
        )
    assert Image.open('pair_loss_vs_iou.png').size[0] > 800
    output = capsys.readouterr().out
    within = content['correlation']['within_images']['value']
    assert f'within images: {within:+.3f} [' in output
    # The same views again.
    load_tool('analysis/pair_loss_vs_iou').main([*args, '--out', 'again/other.png'])
    again = json.loads(Path('again/other.json').read_text())
    assert again == content


def test_the_pairs_that_are_judged(checkpoint):
    module = load_tool('analysis/pair_loss_vs_iou')
    cfg = Config.fromfile(DEMO)
    model = load_selecting_model(cfg, str(checkpoint))
    args = module.parse_args([str(DEMO), str(checkpoint), '--images', '20', '--batch-size', '4'])
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    judged = module.judge(model, dataset, cfg, args)
    for batch in range(2):
        # Not the first images: many data sets come class by class.
        order = np.random.default_rng(0).permutation(len(dataset))[4 * batch : 4 * batch + 4]
        examples = draw_examples(dataset, order.tolist(), seed=4 * batch)
        selection = select_examples(model, examples)
        loss = selection.pair_loss
        expected = torch.stack([loss[:, 0, 3] + loss[:, 3, 0], loss[:, 1, 2] + loss[:, 2, 1]], 1)
        found = judged.pair_loss[4 * batch : 4 * batch + 4, [2, 3]]
        assert np.allclose(found, expected.numpy() / 2, atol=1e-6)


def test_the_picture_shows_the_pairs():
    iou = np.random.default_rng(0).random((5, 6))
    figure = load_tool('analysis/_pair_loss_plot').draw_pair_loss(iou, -iou, 'title')
    (axes,) = figure.axes
    assert np.allclose(axes.collections[0].get_offsets(), np.stack([iou.ravel(), -iou.ravel()], 1))
    means = axes.get_lines()[0].get_xydata()
    assert len(means) == 10
    assert np.allclose(means[:, 0], -means[:, 1])


def test_the_model_gets_its_epoch():
    """DINO's temperature depends on it."""
    hub = MessageHub.get_current_instance()
    for epoch, told in ((3, 2), (None, 7)):
        tell_epoch(Config({'train_cfg': {'max_epochs': 8}}), epoch)
        assert (hub.get_info('epoch'), hub.get_info('max_epochs')) == (told, 8)


def test_a_single_pair_cannot_be_compared(checkpoint):
    two = ['model.candidates=[2]', 'train_dataloader.dataset.pipeline.0.num_views=[2]']
    with pytest.raises(SystemExit, match=r'^error: .* make 1 pair\(s\) of target views'):
        load_tool('analysis/pair_loss_vs_iou').main(
            [str(DEMO), str(checkpoint), '--images', '32', '--cfg-options', *two]
        )


def test_pair_loss_vs_iou_of_bad_input(checkpoint, tmp_path):
    main = load_tool('analysis/pair_loss_vs_iou').main
    (tmp_path / 'broken.pth').write_bytes(checkpoint.read_bytes()[:1000])
    (tmp_path / 'text.pth').write_text('text')
    other = ROOT / 'configs/demo/hvs_dino.py'
    for args, message in (
        ([DEMO, tmp_path / 'missing.pth'], 'missing.pth: there is no such checkpoint'),
        ([DEMO, tmp_path / 'broken.pth'], 'broken.pth'),
        ([DEMO, tmp_path / 'text.pth'], 'text.pth'),
        ([other, checkpoint], r'is of another model \(.+\) than the config'),
        ([ROOT / 'configs/demo/simsiam.py', checkpoint], 'selects no views'),
        ([DEMO, checkpoint, '--images', '3'], 'makes no batch of 32'),
        ([DEMO, checkpoint, '--images', '10', '--batch-size', '2'], '10 images are too few'),
        ([DEMO, checkpoint, '--device', 'cuda:99'], '--device cuda:99'),
        ([DEMO, checkpoint, '--out', 'a.json'], '--out a.json: its name must end in .png'),
        ([DEMO, checkpoint, '--images', '0'], '--images 0: it must be at least 1'),
        ([DEMO, checkpoint, '--batch-size', '-4'], '--batch-size -4: it must be'),
    ):
        with pytest.raises(SystemExit, match=f'^error: .*{message}'):
            main(list(map(str, args)))
