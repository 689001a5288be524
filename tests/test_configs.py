"""Every config with selection differs from its baseline in the selection alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from mmpretrain.registry import MODELS, TRANSFORMS

from hvs_mm.datasets import CandidateViews
from hvs_mm.models import HVSAlgorithm

CONFIGS = Path(__file__).parents[1] / 'configs'
HVS_CONFIGS = sorted(CONFIGS.glob('hvs_*.py')) + sorted(CONFIGS.glob('demo/hvs_*.py'))

#: What selection may add to or change in a baseline.
ALLOWED = {
    'custom_imports',
    'log_processor',
    'model',
    'train_dataloader.collate_fn',
    'train_dataloader.dataset.pipeline',
    # The name of the demo's pipeline, which its data loader takes by reference.
    'train_pipeline',
}


def baseline_of(path: Path) -> Config:
    """The first base that a config inherits from."""
    namespace: dict[str, Any] = {}
    line = next(x for x in path.read_text().splitlines() if x.startswith('_base_'))
    exec(line, namespace)
    base = namespace['_base_']
    base = base if isinstance(base, str) else base[0]
    if '::' in base:
        from mmengine.hub import get_config

        return get_config(base)
    return Config.fromfile(path.parent / base)


def without_scope(value: Any) -> Any:
    """The value without the scope that inheriting across packages adds."""
    if isinstance(value, dict):
        return {key: without_scope(item) for key, item in value.items() if key != '_scope_'}
    if isinstance(value, (list, tuple)):
        return [without_scope(item) for item in value]
    return value


def differences(first: Any, second: Any, path: str = '') -> set[str]:
    """Dotted keys of the values that differ, not descending into those allowed to."""
    if path in ALLOWED:
        return set() if first == second else {path}
    if isinstance(first, dict) and isinstance(second, dict):
        return {
            key
            for part in first.keys() | second.keys()
            for key in differences(
                first.get(part), second.get(part), f'{path}.{part}' if path else part
            )
        }
    return set() if first == second else {path}


@pytest.mark.parametrize('path', HVS_CONFIGS, ids=lambda path: path.name)
def test_only_the_selection_differs(path):
    cfg, baseline = Config.fromfile(path), baseline_of(path)
    ours, theirs = without_scope(cfg.to_dict()), without_scope(baseline.to_dict())
    assert differences(ours, theirs) <= ALLOWED
    assert ours['model']['algorithm'] == theirs['model']
    assert ours['model']['type'] == 'HVSAlgorithm'
    assert set(ours['model']) == {'type', 'algorithm', 'candidates', 'keep'}


@pytest.mark.parametrize('path', HVS_CONFIGS, ids=lambda path: path.name)
def test_the_views_are_the_baselines_but_more(path):
    cfg, baseline = Config.fromfile(path), baseline_of(path)
    steps = {step['type']: step for step in cfg.train_dataloader.dataset.pipeline}
    theirs = {step['type']: step for step in baseline.train_dataloader.dataset.pipeline}
    views, multiview = steps['CandidateViews'], theirs['MultiView']
    assert without_scope(views['transforms']) == without_scope(multiview['transforms'])
    counts = multiview['num_views']
    assert cfg.model.keep == ([counts] if isinstance(counts, int) else counts)
    assert views['num_views'] == cfg.model.candidates
    assert sum(cfg.model.candidates) > sum(cfg.model.keep)
    # All other steps are the same, but for packing the geometry.
    assert [s for s in steps if s not in ('CandidateViews', 'PackViews')] == [
        s for s in theirs if s not in ('MultiView', 'PackInputs', 'PackViews')
    ]


@pytest.mark.parametrize('path', HVS_CONFIGS, ids=lambda path: path.name)
def test_it_builds(path):
    cfg = Config.fromfile(path)
    model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    assert isinstance(model, HVSAlgorithm)
    for step in cfg.train_dataloader.dataset.pipeline:
        transform = TRANSFORMS.build(step)
        if step['type'] == 'CandidateViews':
            assert isinstance(transform, CandidateViews)
    # The scope that inheriting adds would be handed on to the function.
    assert cfg.train_dataloader.collate_fn == {'type': 'default_collate'}


def test_there_are_configs():
    assert {path.name for path in HVS_CONFIGS} >= {
        'hvs_simsiam_100e.py',
        'hvs_simsiam_200e.py',
        'hvs_simclr_200e.py',
        'hvs_byol_200e.py',
        'hvs_simsiam.py',
    }
