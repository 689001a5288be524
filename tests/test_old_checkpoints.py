"""Checkpoints and configs of an early version still work: see ``tests/data``."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from safetensors.torch import load_file
from torch.testing import assert_close

import hvs_mm
from hvs_mm.engine import build_runner
from hvs_mm.weights.checkpoint_files import load_checkpoint

OLD = Path(__file__).parent / 'data' / 'checkpoints_1c92a1b'
of_run = pytest.mark.parametrize('name', ['simsiam', 'dino'])


class Resumed(Hook):
    """What a run begins with, after it has read its checkpoint."""

    def before_train_epoch(self, runner) -> None:
        # A copy: the training goes on.
        self.weights = {name: value.clone() for name, value in runner.model.state_dict().items()}
        optimizer = runner.optim_wrapper.optimizer.state_dict()
        self.moments = [value.clone() for state in optimizer['state'].values()
                        for value in state.values() if torch.is_tensor(value)]  # fmt: skip
        self.begin = (runner.epoch, runner.iter)


@of_run
def test_a_run_continues(name, tmp_path) -> None:
    cfg = Config.fromfile(OLD / name / f'hvs_{name}.py')
    # Pictures take longer than all the rest.
    cfg.default_hooks.panel = None
    cfg.merge_from_dict(
        dict(work_dir=str(tmp_path), resume=True, load_from=str(OLD / name / 'epoch_1.pth'))
    )
    runner = build_runner(cfg)
    resumed = Resumed()
    runner.register_hook(resumed)
    runner.train()

    saved = load_checkpoint(OLD / name / 'epoch_1.pth')
    assert resumed.begin == (1, saved['meta']['iter'])
    assert (runner.epoch, runner.iter) == (2, 2 * saved['meta']['iter'])
    assert_close(resumed.weights, dict(saved['state_dict']), rtol=0, atol=0)
    moments = [value for state in saved['optimizer']['state'].values()
               for value in state.values() if torch.is_tensor(value)]  # fmt: skip
    assert moments
    assert_close(resumed.moments, moments, rtol=0, atol=0)
    assert (tmp_path / 'epoch_2.pth').is_file()


@of_run
def test_its_backbone_is_exported(name, tmp_path) -> None:
    path = tmp_path / 'backbone.safetensors'
    exported = hvs_mm.export(OLD / name / 'epoch_1.pth', 'mmpretrain', path)
    assert exported.metadata['epoch'] == 1
    prefix = {'simsiam': 'backbone.', 'dino': 'teacher.backbone.'}[name]
    saved = load_checkpoint(OLD / name / 'epoch_1.pth')['state_dict']
    for key, value in load_file(path).items():
        assert_close(value, saved[prefix + key.removeprefix('backbone.')], rtol=0, atol=0)
