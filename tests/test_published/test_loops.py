"""Whole training loops of DINO's and automl/hvp's published code, step by step, by our Runner."""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from itertools import count

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch.testing import assert_close
from torch.utils.data import Dataset

from hvs_mm.models import HVSAlgorithm
from hvs_mm.weights.published import from_published, to_published
from tests.helpers.configs import CONFIGS, load
from tests.helpers.published_numbers import load_numbers, names_in

PATCH, SIDE, PROTOTYPES = 8, 32, 16
#: Epochs; the learning rate warms up in the first.
EPOCHS = 4
#: The Runner would find the logs of one with the same name.
NUMBERS = count()
#: Our learning rate begins at 1e-9 of its peak, and MMPretrain interpolates positions in float32.
CLOSE = dict(rtol=1e-8, atol=1e-8)
#: What the published interpolation is, and the one to the exact size, which is MMPretrain's.
OFFSETS = {'published/': 0.1, 'exact_pos/': 0.0}


def dino_config(offset, num_crops):
    return dict(
        type='DINO',
        data_preprocessor=dict(type='mmengine.BaseDataPreprocessor'),
        backbone=dict(
            type='OffsetVisionTransformer',
            pos_embed_offset=offset,
            arch=dict(embed_dims=24, num_layers=2, num_heads=2, feedforward_channels=96),
            img_size=SIDE,
            patch_size=PATCH,
        ),
        neck=dict(
            type='DINONeck',
            in_channels=24,
            out_channels=PROTOTYPES,
            hidden_channels=32,
            bottleneck_channels=16,
        ),
        head=dict(
            type='DINOHead',
            out_channels=PROTOTYPES,
            num_crops=num_crops,
            teacher_temp=0.07,
            warmup_teacher_temp=0.04,
            warmup_teacher_temp_epochs=2,
        ),
    )


class Views(Dataset):
    """The samples of the batches (batch, view, sample, 3, H, W), one after the other."""

    def __init__(self, *views):
        self.views = [view.double() for view in views]

    def __len__(self):
        return self.views[0].shape[0] * self.views[0].shape[2]

    def __getitem__(self, number):
        batch, sample = divmod(number, self.views[0].shape[2])
        inputs = [view for views in self.views for view in views[batch, :, sample]]
        return dict(inputs=inputs, data_samples=DataSample())


class NormRecorder(Hook):
    """The common norm of the gradients before GradientHook clips them."""

    priority = 'HIGHEST'

    def __init__(self):
        self.norms = []

    def before_train(self, runner):
        parameters = [p for p in runner.model.parameters() if p.requires_grad]

        def note(*args):
            self.norms.append(torch.cat([p.grad.flatten() for p in parameters]).norm())

        runner.optim_wrapper.optimizer.register_step_pre_hook(note)


class Recorder(Hook):
    """What the published loops were asked for in every step."""

    priority = 'LOWEST'

    def __init__(self, names):
        self.names, self.steps = names, []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        groups = runner.optim_wrapper.optimizer.param_groups
        decays = {group['weight_decay'] for group in groups} - {0}
        self.steps.append(
            {
                'lr': groups[0]['lr'],
                'weight_decay': decays.pop(),
                'teacher_temp': runner.model.head.current_teacher_temp(),
            }
        )

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        step, model = self.steps[-1], runner.model
        step['loss'] = outputs['loss']
        step['momentum'] = 1 - runner.message_hub.get_scalar('train/teacher_momentum').current()
        step['center'] = model.head.center[0].clone()
        published = to_published(model.state_dict()).weights
        for network, prefix in (('student', 'module.'), ('teacher', '')):
            weights = [published[network][prefix + name] for name in self.names]
            step[f'{network}_sum'] = torch.stack([w.sum() for w in weights])
            step[f'{network}_sumsq'] = torch.stack([w.square().sum() for w in weights])
        selection = getattr(model, 'last_selection', None)
        if selection is not None:
            step['kept'], step['score'] = selection.indices.T, selection.score


def train(work_dir, model, name, views, gradient_hook):
    """Train with the settings of our DINO configs; the record of every step."""
    initial = load_numbers(name, 'init/')
    center = torch.zeros(1, PROTOTYPES)
    checkpoint = dict(student=initial, teacher=initial, dino_loss=dict(center=center))
    start = from_published(checkpoint)
    assert start.unmatched == []
    torch.save(dict(state_dict=start.weights), work_dir / 'start.pth')
    cfg = deepcopy(load(CONFIGS / 'baselines/dino_vit-small_100e.py'))
    warm_up, cosine, weight_decay = cfg.param_scheduler
    warm_up.end = cosine.begin = 1
    cosine.end = weight_decay.end = EPOCHS
    teacher = next(hook for hook in cfg.custom_hooks if hook.type == 'TeacherHook')
    recorder, norms = Recorder(names_in(name, 'tensor_names')), NormRecorder()
    runner = Runner(
        model.double(),
        str(work_dir),
        train_dataloader=dict(
            batch_size=4,
            num_workers=0,
            dataset=Views(*views),
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='default_collate'),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=EPOCHS),
        optim_wrapper=cfg.optim_wrapper,
        param_scheduler=cfg.param_scheduler,
        custom_hooks=[
            *(teacher, norms, recorder),
            dict(type='GradientHook', freeze_epochs=1, **gradient_hook),
        ],
        default_hooks=dict(checkpoint=None),
        load_from=str(work_dir / 'start.pth'),
        default_scope='mmpretrain',
        log_level='ERROR',
        experiment_name=f'published_{next(NUMBERS)}',
    )
    runner.train()
    for step, norm in zip(recorder.steps, norms.norms):
        step['grad_norm_before_clip'] = norm
    return recorder.steps


def check(steps, expected, names):
    assert len(steps) == len(expected['lr'])
    for name in names:
        found = [torch.as_tensor(step[name], dtype=torch.float64) for step in steps]
        assert_close(
            torch.stack(found), expected[name], **CLOSE, msg=partial('{}: {}'.format, name)
        )


EVERY_STEP = (
    *('lr', 'weight_decay', 'momentum', 'teacher_temp', 'loss', 'center'),
    *('student_sum', 'student_sumsq', 'teacher_sum', 'teacher_sumsq'),
)


@pytest.mark.parametrize('run', OFFSETS)
def test_dino(run, tmp_path):
    """12 steps, clipped by tensor."""
    arrays, expected = load_numbers('dino_loop'), load_numbers('dino_loop', run)
    model = MODELS.build(dino_config(OFFSETS[run], num_crops=4))
    views = arrays['global_views'], arrays['local_views']
    steps = train(tmp_path, model, 'dino_loop', views, dict(clip=0.3))
    check(steps, expected, EVERY_STEP)


@pytest.mark.parametrize('run', OFFSETS)
def test_hvp(run, tmp_path):
    """8 steps with the hardest of 24 combinations, clipped by the common norm."""
    arrays, expected = load_numbers('dino_loop_clip'), load_numbers('dino_loop_clip', run)
    algorithm = MODELS.build(dino_config(OFFSETS[run], num_crops=4))
    model = HVSAlgorithm(algorithm, candidates=[2, 2, 4], keep=[1, 1, 2])
    # The first global pipeline gave the even views.
    order = torch.tensor([0, 2, 1, 3, 4, 5, 6, 7])
    views = arrays['global_views'][:, order[:4]], arrays['local_views']
    steps = train(tmp_path, model, 'dino_loop_clip', views, dict(clip=3.0, by='model'))
    check(steps, expected, (*EVERY_STEP, 'grad_norm_before_clip'))
    for step, kept, score in zip(steps, expected['kept'], expected['score']):
        assert torch.equal(order[step['kept']], kept)
        # A sum over 6 pairs; ours is a mean in float32.
        assert_close(6 * step['score'], score.float(), rtol=1e-6, atol=1e-6)
