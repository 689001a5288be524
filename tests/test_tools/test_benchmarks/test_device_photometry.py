"""``tools/benchmarks/device_photometry.py``."""

from __future__ import annotations

import itertools
import re

import pytest
from mmengine.config import Config

from hvs_mm.datasets import CandidateViews
from tests.helpers.tools import ROOT, load_tool

DEMO = ROOT / 'configs' / 'demo' / 'hvs_simsiam.py'
TOOL = 'benchmarks/device_photometry'

pytestmark = pytest.mark.usefixtures('own_folder')


def test_what_it_prints(capsys):
    load_tool(TOOL).main([str(DEMO), '--batches', '2', '--batch-size', '3'])
    lines = capsys.readouterr().out.splitlines()[-5:]
    loading = []
    for line, place in zip(lines, ('loader', 'device', 'device_views')):
        found = re.fullmatch(
            rf'photometry={place}: loader ([\d.]+) ms, preprocessor \(cpu\) [\d.]+ ms per '
            'image',
            line,
        )
        loading.append(float(found[1]))
    for line, place, time in zip(lines[3:], ('device', 'device_views'), loading[1:]):
        printed = float(re.search(rf'is ([\d.]+) times as fast with photometry={place}$', line)[1])
        # All three are rounded.
        low, high = (
            (loading[0] + sign * 0.05) / (time - sign * 0.05) + sign * 0.01 for sign in (-1, 1)
        )
        assert low <= printed <= high


def test_both_places_are_measured(monkeypatch):
    """What is timed draws the views it says, and prepares them."""
    module, seen = load_tool(TOOL), []
    monkeypatch.setattr(module.MODELS, 'build', lambda cfg: Preprocessor(cfg.type, seen))
    # All that is timed takes a second.
    ticks = itertools.cycle([0.0, 1.0])
    clock = load_tool('benchmarks/_measuring').time
    monkeypatch.setattr(clock, 'process_time', lambda: next(ticks))
    args = module.parse_args([str(DEMO), '--batches', '1', '--batch-size', '2'])
    times = module.measure(Config.fromfile(DEMO), args)
    assert times == dict.fromkeys(('loader', 'device', 'device_views'), (500, 500))
    assert [kind for kind, _ in seen] == 2 * ['SelfSupDataPreprocessor', *2 * ['DevicePhotometry']]
    assert [hasattr(sample, 'view_photometry') for _, sample in seen] == [False, True, True] * 2
    assert [hasattr(sample, 'view_crops') for _, sample in seen] == [False, False, True] * 2
    # The same crops everywhere.
    for (_, one), *others in (seen[:3], seen[3:]):
        assert all((one.view_boxes == other.view_boxes).all() for _, other in others)
    dataset = module.build_training_dataset(module.with_photometry(Config.fromfile(DEMO), 'device'))
    assert any(
        isinstance(t, CandidateViews) and t.photometry == 'device'
        for t in dataset.pipeline.transforms
    )


class Preprocessor:
    """Notes its type and the first sample of each batch."""

    def __init__(self, kind, seen):
        self.kind, self.seen = kind, seen

    def to(self, device):
        return self

    def __call__(self, batch, training):
        self.seen.append((self.kind, batch['data_samples'][0]))


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        ([str(ROOT / 'configs/demo/simsiam.py')], 'has no CandidateViews'),
        ([str(ROOT / 'configs/hvs_simsiam_100e.py')], "'data/imagenet/?' does not exist"),
    ],
)
def test_bad_input(args, message):
    with pytest.raises(SystemExit, match=f'^error: .*{message}'):
        load_tool(TOOL).main(args)


def test_counts_must_be_positive(capsys):
    with pytest.raises(SystemExit):
        load_tool(TOOL).main([str(DEMO), '--batches', '0'])
    assert "argument --batches: '0' must be a whole number, at least 1" in capsys.readouterr().err
