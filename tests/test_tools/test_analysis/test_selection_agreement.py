"""``tools/analysis/selection_agreement.py``."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torchvision.ops import box_iou

from hvs_mm.engine import build_model
from hvs_mm.models import SelectionPass
from tests.helpers.tools import ROOT, load_tool

DEMO = ROOT / 'configs' / 'demo'
TOOL = 'analysis/selection_agreement'
SMALL = ['--images', '16', '--batch-size', '8', '--device', 'cpu']

pytestmark = pytest.mark.usefixtures('own_folder')


@pytest.fixture(scope='module')
def checkpoints(tmp_path_factory):
    folder, paths = tmp_path_factory.mktemp('checkpoints'), {}
    for name in ('simsiam', 'dino', 'ibot'):
        torch.manual_seed(0)
        model = build_model(Config.fromfile(DEMO / f'hvs_{name}.py'))
        model.init_weights()
        paths[name] = str(folder / f'{name}.pth')
        torch.save({'state_dict': model.state_dict(), 'meta': {'epoch': 3}}, paths[name])
    return paths


def run(name, checkpoints, *arguments):
    config = str(DEMO / f'hvs_{name}.py')
    load_tool(TOOL).main([config, checkpoints[name], *SMALL, '--json', 'out.json', *arguments])
    return {row['variant']: row for row in written('variants')}


def written(key, path='out.json'):
    return json.loads(Path(path).read_text())[key]


def test_default_variants(checkpoints, capsys):
    rows = run('simsiam', checkpoints)
    # A ResNet has four stages and no tokens.
    assert list(rows) == [
        'full',
        'dtype=bfloat16',
        'scale=0.75',
        'scale=0.5',
        'scale=0.35',
        'depth=1',
        'depth=2',
        'depth=3',
    ]
    full = rows['full']
    assert (full['images'], full['same']) == (16, 1)
    assert full['retained'] == pytest.approx(1)
    # The same operations in another precision, a quarter of them, less than all.
    assert rows['dtype=bfloat16']['cost'] == full['cost']
    extra, half = full['cost'] - 1, rows['scale=0.5']['cost'] - 1
    assert 0.2 * extra < half < 0.4 * extra
    costs = [rows[f'depth={depth}']['cost'] for depth in (1, 2, 3)]
    assert 1 < costs[0] < costs[1] < costs[2] < full['cost']
    assert '16 images' in capsys.readouterr().out


def test_hardness_of_selectors(checkpoints, capsys):
    arguments = ('--variant', 'dtype=bfloat16', '--cfg-options', 'model.selector=random')
    run('dino', checkpoints, *arguments)
    rows = {row['selector']: row for row in written('selectors')}
    hardness = {name: row['hardness'] for name, row in rows.items()}
    assert hardness['hardest'] == rows['hardest']['same'] == 1
    assert hardness['easiest'] < -0.5
    for name in ('as configured', 'random'):
        assert abs(hardness[name]) < 3 * rows[name]['hardness_error']
    softened = [hardness[name] for name in rows if name.startswith('softened')]
    assert softened == sorted(softened, reverse=True)
    assert 0 < hardness['per_group, global_crops=hardest'] < 1
    # Judged by the losses, whatever they go by.
    for name in ('lowest_iou', 'iou_below, threshold=0.3', 'largest_color_difference'):
        assert -1 < hardness[name] < 1
        assert rows[name]['same'] < 1
    assert 'softened, temperature=0.25' in capsys.readouterr().out


def test_hardness_of_a_choice_without_forwards(checkpoints):
    """Pair by pair, from what the tool has drawn and a model that selects by the overlap."""
    module, kept = load_tool(TOOL), {}
    compare = module.compare

    def spy(*args):
        kept['rows'], kept['full'], kept['records'] = compare(*args)
        return tuple(kept.values())

    module.compare = spy
    config = str(DEMO / 'hvs_simsiam.py')
    module.main(
        [config, checkpoints['simsiam'], *SMALL, '--json', 'out.json', '--variant', 'depth=1']
    )
    (row,) = (row for row in written('selectors') if row['selector'] == 'lowest_iou')
    gaps = []
    for loss, boxes in zip(kept['full'].pair_loss, kept['records']['boxes']):
        pairs = list(combinations(range(4), 2))
        ious = [box_iou(boxes[a : a + 1], boxes[b : b + 1]).item() for a, b in pairs]
        scores = [(loss[pair] + loss[pair[::-1]]).item() / 2 for pair in pairs]
        mean = sum(scores) / 6
        gaps.append((scores[ious.index(min(ious))] - mean) / (max(scores) - mean))
    assert row['hardness'] == pytest.approx(sum(gaps) / len(gaps), rel=1e-3)


def test_selectors_that_make_no_difference_are_left_out(checkpoints):
    run('simsiam', checkpoints, '--variant', 'scale=0.5')
    names = [row['selector'] for row in written('selectors')]
    # 6 combinations, and no local crops.
    assert [name for name in names if 'max_comparisons' in name or 'per_group' in name] == [
        'hardest, max_comparisons=4',
        'hardest, max_comparisons=2',
    ]


def test_variants_that_are_asked_for(checkpoints):
    both = ('--variant', 'scale=0.5', 'tokens=0.5')
    rows = run('ibot', checkpoints, *both, '--variant', 'dtype=bfloat16')
    # The demo has stochastic depth: the full choice differs from itself.
    assert list(rows) == [
        'full',
        'full, other noise',
        'scale=0.5, tokens=0.5',
        'dtype=bfloat16',
    ]
    assert rows['full, other noise']['same'] < 1
    assert rows['full, other noise']['cost'] == rows['full']['cost']


def test_every_batch_has_tokens_of_its_own(checkpoints, monkeypatch):
    drawn = []
    draw = SelectionPass.draw_subsets

    def spy(self):
        subsets = draw(self)
        if subsets is not None:
            drawn.append(tuple(subsets(36).tolist()))
        return subsets

    monkeypatch.setattr(SelectionPass, 'draw_subsets', spy)
    run('ibot', checkpoints, '--variant', 'tokens=0.5')
    # Two batches, and one more pass to count its cost.
    assert len(drawn) == 3
    assert drawn[0] != drawn[1]


def test_options_of_the_config_do_not_enter_the_reference(checkpoints):
    """The full choice is full, whatever the config says."""
    rows = run('simsiam', checkpoints, '--cfg-options', 'model.candidates=[4]')
    config = Path('fast.py')
    config.write_text(
        f"_base_ = '{DEMO / 'hvs_simsiam.py'}'\n"
        'model = dict(selection_pass=dict(scale=0.5), schedule=dict(interval=7), '
        "selector='easiest')\n"
    )
    load_tool(TOOL).main([str(config), checkpoints['simsiam'], *SMALL, '--json', 'fast.json'])
    assert written('variants', 'fast.json') == list(rows.values())


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--variant', 'size=0.5'], r'--variant size=0\.5: it must be OPTION=VALUE'),
        (['--variant', 'scale'], r'--variant scale: it must be OPTION=VALUE'),
        (['--variant', 'tokens=0.5'], r'SimSiam has a ResNet'),
        (['--variant', 'depth=9'], r'selection_pass.depth=9 must be'),
        (['--variant', 'dtype=half'], r"selection_pass.dtype='half' must be"),
        (['--images', '0'], r'--images 0: it must be at least 1'),
        (['--batch-size', '700'], r'makes no batch of 700'),
        (['--device', 'cuda:77'], r'--device cuda:77: there is no such device'),
    ],
)
def test_bad_input(checkpoints, arguments, message):
    config = str(DEMO / 'hvs_simsiam.py')
    with pytest.raises(SystemExit, match=message):
        load_tool(TOOL).main([config, checkpoints['simsiam'], *SMALL, *arguments])


def test_a_checkpoint_that_is_not_there():
    with pytest.raises(SystemExit, match=r'none\.pth'):
        load_tool(TOOL).main([str(DEMO / 'hvs_simsiam.py'), 'none.pth'])
