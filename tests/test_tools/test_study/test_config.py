"""The configs of a study's runs, their lengths and hashes."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS

from hvs_mm.engine import build_runner
from hvs_study.config import config_hash, resolve_config
from hvs_study.plan import PlannedRun, Study, read_study
from hvs_study.results import key_of, read_results
from tests.helpers.images import class_names, write_images
from tests.helpers.studies import rewritten, write_study
from tests.helpers.tools import ROOT, load_tool

STUDIES = ROOT / 'tools' / 'study' / 'studies'


@cache
def project_study(name: str) -> tuple[Study, dict[PlannedRun, str]]:
    """A study of the project and the hashes of its runs, resolved once."""
    tool = load_tool('study/run')
    study = read_study(str(STUDIES / f'{name}.py'), ROOT)
    return study, tool.check_study(study, tool.parse_args([study.path, '--list']))


@pytest.mark.parametrize('name', sorted(path.stem for path in STUDIES.glob('*.py')))
def test_the_studies_of_the_project(name, tmp_path, monkeypatch):
    """Every method and arm has a config, and every length a schedule."""
    for part in ('train', 'val'):
        write_images(tmp_path / part, class_names(['cat', 'dog'], 40), (32, 32))
    monkeypatch.setenv('RECIPE_IMAGES', str(tmp_path))
    study, hashes = project_study(name)
    assert study.name == name
    # None of them is there for nothing.
    assert {run.arm for run in study.runs} == set(study.arms)
    assert set(hashes) == set(study.runs)
    assert len(set(hashes.values())) == len(study.runs)


LINES = sorted((ROOT / 'docs' / 'results').glob('*.jsonl'))


@pytest.mark.parametrize('path', LINES, ids=lambda path: path.stem)
def test_the_lines_of_the_project_are_of_these_settings(path):
    """What was changed since would be averaged with what was not."""
    study, hashes = project_study(path.stem)
    planned = {(study.name, run.id, digest) for run, digest in hashes.items()}
    assert set(map(key_of, read_results(path))) <= planned


def test_fast_arms_are_those_of_the_fast_configs():
    study, _ = project_study('shapes')
    for path in (ROOT / 'configs').glob('hvs_*_fast.py'):
        ours = study.arms['fast']['per_method'][path.stem.split('_')[1]]
        namespace: dict[str, Any] = {}
        exec(path.read_text(), namespace)
        settings = namespace['model']['selection_pass'].items()
        assert ours == {f'model.selection_pass.{key}': value for key, value in settings}


# --- Configs ---------------------------------------------------------------------------------


def test_the_more_special_setting_wins(tmp_path):
    path = write_study(tmp_path, arms=('hardest', 'of6'))
    rewritten(path, "config='selection'),", "config='selection', cfg_options={'model.stride': 2}),")
    rewritten(path, 'cfg_options = {', "cfg_options = {'model.stride': 3, ")
    rewritten(path, 'arms = dict(', "arms = dict(baseline2=dict(config='baseline'), ")
    path.write_text(path.read_text().replace("'model.stride'", "'optim_wrapper.optimizer.lr'"))
    study = read_study(str(path), ROOT)
    hardest, of6 = study.runs
    assert resolve_config(study, hardest, {}).optim_wrapper.optimizer.lr == 2
    cfg = resolve_config(study, of6, {})
    assert cfg.optim_wrapper.optimizer.lr == 3
    assert cfg.model.candidates == cfg.train_dataloader.dataset.pipeline[0].num_views == [6]
    assert cfg.train_dataloader.num_workers == 0
    assert cfg.randomness.seed == 0
    assert 'panel' not in cfg.default_hooks
    options = {'optim_wrapper.optimizer.lr': 5, 'train_dataloader.num_workers': 1}
    cfg = resolve_config(study, hardest, options)
    assert cfg.optim_wrapper.optimizer.lr == 5
    assert cfg.train_dataloader.num_workers == 1


def test_the_hash_is_of_what_counts(tmp_path):
    study = read_study(str(write_study(tmp_path)), ROOT)
    run = study.runs[1]

    def hash_with(run: PlannedRun = run, **options: Any) -> str:
        options = {key.replace('__', '.'): value for key, value in options.items()}
        return config_hash(resolve_config(study, run, options), study)

    assert hash_with() == hash_with()
    cfg = resolve_config(study, run, {})
    cfg.work_dir = 'elsewhere'
    cfg.train_dataloader.dataset.data_root = 'elsewhere'
    assert config_hash(cfg, study) == hash_with()
    # No run reads this: the pipelines have it already.
    cfg.view_pipeline = []
    assert config_hash(cfg, study) == hash_with()
    assert hash_with(train_dataloader__num_workers=2) == hash_with()
    assert hash_with(default_hooks__logger__interval=3) == hash_with()
    different = {
        hash_with(),
        hash_with(optim_wrapper__optimizer__lr=0.3),
        hash_with(train_dataloader__batch_size=4),
        hash_with(train_dataloader__dataset__num_samples=8),
        hash_with(default_hooks__finite_step__max_consecutive=3),
        hash_with(PlannedRun('simsiam', 'hardest', 3, 0)),
        hash_with(PlannedRun('simsiam', 'hardest', 2, 1)),
        hash_with(PlannedRun('simsiam', 'random', 2, 0)),
        hash_with(knn_pipeline__0__scale=16),
        hash_with(load_from='weights.pth'),
    }
    assert len(different) == 10
    rewritten(Path(study.path), 'C=0.5', 'C=0.25')
    assert config_hash(cfg, read_study(study.path, ROOT)) != hash_with()


class _SeenError(Exception):
    pass


@HOOKS.register_module()
class _LookAtTheStart(Hook):
    """Keeps the weights before training, and ends it after an epoch."""

    def before_train(self, runner):
        self.weights = {k: v.clone() for k, v in runner.model.state_dict().items()}
        self.images = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.images += [int(sample.sample_idx) for sample in data_batch['data_samples']]

    def after_train_epoch(self, runner):
        raise _SeenError


@pytest.mark.parametrize('method', ['simsiam', 'simclr', 'dino', 'ibot'])
def test_all_arms_of_a_seed_start_alike(method, tmp_path):
    """The same weights, and the same images in the same order."""
    study, _ = project_study('shapes')
    options = {'train_dataloader.dataset.num_samples': 8, 'train_dataloader.batch_size': 4}
    seen = {}
    for arm, seed in (('baseline', 0), ('hardest', 0), ('fast', 0), ('baseline', 1)):
        cfg = resolve_config(study, PlannedRun(method, arm, 8, seed), options)
        cfg.work_dir = str(tmp_path / f'{arm}_{seed}')
        cfg.experiment_name = f'{method}_{arm}_{seed}_{tmp_path.name}'
        runner = build_runner(cfg)
        hook = _LookAtTheStart()
        runner.register_hook(hook)
        with pytest.raises(_SeenError):
            runner.train()
        seen[arm, seed] = hook
    first = seen['baseline', 0]
    assert len(first.images) == 8
    for (arm, seed), hook in seen.items():
        assert hook.weights.keys() == first.weights.keys()
        same = [torch.equal(hook.weights[key], value) for key, value in first.weights.items()]
        assert all(same) == (seed == 0), arm
        assert (hook.images == first.images) == (seed == 0), arm


def test_the_study_of_the_docs(tmp_path):
    text = (ROOT / 'docs' / 'studies.md').read_text()
    path = tmp_path / 'mine.py'
    path.write_text(text.partition('```python\n')[2].partition('```')[0])
    study = read_study(str(path), ROOT)
    # Of one method there is one arm more.
    assert len(study.runs) == 2 * 4 * 3 + 3 + 2 * 3
    for run in study.runs:
        if run.seed == 0:
            assert resolve_config(study, run, {}).train_cfg.max_epochs == run.epochs
