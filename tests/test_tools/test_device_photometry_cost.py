"""``tools/dev/device_photometry_cost.py``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mmengine.config import Config

from hvs_mm.datasets import CandidateViews
from hvs_mm.models import DevicePhotometry
from tests.tools import load_tool

ROOT = Path(__file__).parents[2]
DEMO = ROOT / 'configs' / 'demo' / 'hvs_simsiam.py'
TOOL = 'dev/device_photometry_cost'

pytestmark = pytest.mark.usefixtures('own_folder')


def test_what_it_prints(capsys):
    load_tool(TOOL).main([str(DEMO), '--batches', '2', '--batch-size', '3'])
    *places, ratio = capsys.readouterr().out.splitlines()[-3:]
    loading = []
    for line, place in zip(places, ('loader', 'device')):
        found = re.fullmatch(
            rf'photometry in the {place}: loader ([\d.]+) ms, preprocessor \(cpu\) [\d.]+ ms per '
            'image',
            line,
        )
        loading.append(float(found[1]))
    printed = float(re.search(r'is ([\d.]+) times as fast', ratio)[1])
    # All three are rounded.
    low, high = (
        (loading[0] + sign * 0.05) / (loading[1] - sign * 0.05) + sign * 0.01 for sign in (-1, 1)
    )
    assert low <= printed <= high


def test_both_places_are_measured(monkeypatch):
    """What is timed draws the views it says, and prepares them."""
    module, seen = load_tool(TOOL), []
    monkeypatch.setattr(
        module,
        'time_preprocessor',
        lambda preprocessor, batch: seen.append((preprocessor, batch['data_samples'][0])) or 1.0,
    )
    args = module.parse_args([str(DEMO), '--batches', '1', '--batch-size', '2'])
    times = module.measure(Config.fromfile(DEMO), args)
    assert times['loader'][1] == times['device'][1] == 500
    assert [isinstance(preprocessor, DevicePhotometry) for preprocessor, _ in seen] == [
        False,
        True,
    ] * 2
    assert [hasattr(sample, 'view_photometry') for _, sample in seen] == [False, True] * 2
    # The same crops in both.
    for (_, one), (_, other) in (seen[:2], seen[2:]):
        assert (one.view_boxes == other.view_boxes).all()
    dataset = module.build_training_dataset(module.with_photometry(Config.fromfile(DEMO), 'device'))
    assert any(isinstance(t, CandidateViews) and t.on_device for t in dataset.pipeline.transforms)


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        ([str(DEMO), '--batches', '0'], '--batches 0: both must be at least 1'),
        ([str(ROOT / 'configs/demo/simsiam.py')], 'has no CandidateViews'),
        ([str(ROOT / 'configs/hvs_simsiam_100e.py')], "'data/imagenet/?' does not exist"),
    ],
)
def test_bad_input(args, message):
    with pytest.raises(SystemExit, match=f'^error: .*{message}'):
        load_tool(TOOL).main(args)
