"""``tools/demo.py``, shortened."""

from __future__ import annotations

import re

import numpy as np
import pytest
from mmengine.config import Config

from hvs_mm.datasets import shapes
from tests.helpers.configs import CONFIGS, without_scope
from tests.helpers.tools import ROOT, load_tool

OPTIONS = (
    'train_dataloader.dataset.num_samples=64',
    'train_dataloader.batch_size=16',
    'train_cfg.max_epochs=2',
)


def test_demo(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(ROOT)
    # No table may be wrapped.
    monkeypatch.setenv('COLUMNS', '200')
    # Queries of the k-NN evaluation.
    monkeypatch.setitem(shapes._NUM_SAMPLES, 'val', 64)
    load_tool('demo').main(['--work-dir', str(tmp_path), '--cfg-options', *OPTIONS])
    output = capfd.readouterr().out
    for name in ('baseline', 'hard views'):
        assert re.search(rf'^{name} +epoch 2/2 .* s  loss -?\d', output, re.MULTILINE)
    for label in ('untrained', 'trained'):
        accuracies = re.search(rf'k-NN accuracy, {label}\s+│ +([\d.]+) % +│ +([\d.]+) %', output)
        assert all(0 <= float(accuracy) <= 100 for accuracy in accuracies.groups())
        # The same weights, judged on the same images.
        assert label == 'trained' or accuracies[1] == accuracies[2]
    for label in ('training', 'CPU time of it'):
        assert re.search(rf'{label} +│ +\d+ s +│ +\d+ s', output)
    assert 'What hard views keep of 64 images' in output
    kept, mean = map(float, re.search(r'kept ([\d.]+), all pairs ([\d.]+)', output).groups())
    number = r'([+-]?\d+\.\d+)'
    found = re.search(rf'difference +│ {number} \[{number}, {number}\]', output)
    difference, low, high = map(float, found.groups())
    assert difference == pytest.approx(kept - mean, abs=0.0015)
    assert low < difference < high
    assert re.search(r'lowest-IoU pair kept +│ [\d.]+% \[.*%, .*%\], by chance 1', output)
    # The hardest pair is harder than the mean.
    assert re.search(r'score above the mean +│ \+', output)
    assert 'points in one seed. The 64 validation images alone leave ±' in output
    for label in ('log', 'checkpoint', 'picture'):
        path = ROOT / re.search(rf'^{label}: +(.*)$', output, re.MULTILINE)[1]
        assert path.stat().st_size > 1000
    # The log file has what the terminal leaves out.
    log = ROOT / re.search(r'^log: +(.*)$', output, re.MULTILINE)[1]
    assert 'hvs_score' not in output
    assert 'Saving checkpoint at 2 epochs' in log.read_text()
    assert len(list(tmp_path.glob('baseline/epoch_2.pth'))) == 1


@pytest.mark.parametrize('name', ['simclr_scenes', 'simsiam', 'dino', 'ibot'])
def test_the_baseline_is_the_projects_own(name):
    """But for the faster transform, which draws the views of hard views, too."""
    ours = load_tool('demo').without_selection(Config.fromfile(CONFIGS / f'demo/hvs_{name}.py'))
    theirs = Config.fromfile(CONFIGS / f'demo/{name}.py')
    assert without_scope(ours.model.to_dict()) == without_scope(theirs.model.to_dict())
    (views,) = (s for s in ours.train_dataloader.dataset.pipeline if 'num_views' in s)
    (wanted,) = (s for s in theirs.train_dataloader.dataset.pipeline if 'num_views' in s)
    assert views.type == 'CandidateViews'
    assert wanted.num_views in (views.num_views, views.num_views[0])
    assert without_scope(views.transforms) == without_scope(wanted.transforms)
    for key in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'custom_hooks', 'randomness'):
        assert without_scope(ours[key]) == without_scope(theirs[key])
    assert not {'selection', 'panel'} & set(ours.default_hooks)


def test_the_interval_covers_the_mean():
    values = np.random.default_rng(0).normal(2.0, 1.0, size=400)
    text = load_tool('demo').with_interval(np.append(values, np.nan), '.3f')
    mean, low, high = map(float, re.findall(r'[\d.]+', text))
    assert mean == pytest.approx(values.mean(), abs=5e-4)
    half = 1.96 * values.std() / 400**0.5
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.02)


def test_a_config_that_selects_nothing():
    with pytest.raises(SystemExit, match=r'demo/simsiam\.py: its model SimSiam selects no views'):
        load_tool('demo').main(['--config', str(CONFIGS / 'demo/simsiam.py')])
