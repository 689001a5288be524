from __future__ import annotations

import pytest

from hvs_mm.engine import check_overrides
from tests.test_engine.test_checks.test_preflight import config


@pytest.mark.parametrize(
    'keys',
    [
        ['model.keep'],
        ['model.selector'],  # an argument the config does not set
        ['model.pair_loss.type'],
        ['model.selector.type', 'model.selector.max_comparisons'],
        ['model.algorithm.backbone.depth'],
        ['model.algorithm.backbone.frozen_stages'],
        ['train_cfg.max_epochs'],
        ['train_dataloader.batch_size', 'train_dataloader.prefetch_factor'],
        ['train_dataloader.dataset.indices'],
        ['optim_wrapper.accumulative_counts'],
        ['optim_wrapper.type', 'optim_wrapper.dtype'],
        ['optim_wrapper.optimizer.type', 'optim_wrapper.optimizer.betas'],
        ['param_scheduler.0.T_max'],
        ['default_hooks.ema.type', 'default_hooks.ema.momentum'],
        ['randomness.seed'],
        ['auto_scale_lr.base_batch_size'],
        ['load_from'],
        ['find_unused_parameters'],
    ],
)
def test_keys_that_exist(keys):
    types = {
        'model.pair_loss.type': 'SimSiamPairLoss',
        'model.selector.type': 'hardest',
        'optim_wrapper.type': 'AmpOptimWrapper',
        'optim_wrapper.optimizer.type': 'AdamW',
        'default_hooks.ema.type': 'EMAHook',
    }
    check_overrides(config(), {key: types.get(key, 1) for key in keys})


@pytest.mark.parametrize(
    ('key', 'message'),
    [
        ('model.candidats', "'model' has no key 'candidats'; did you mean 'candidates'"),
        ('model.select_scale', r'it is now model\.selection_pass\.scale\.'),
        ('model.warmup', r'it is now model\.schedule\.warmup\.'),
        ('modle.keep', "the config has no key 'modle'; did you mean 'model'"),
        ('optim_wraper', "no key 'optim_wraper'; did you mean 'optim_wrapper'"),
        ('train_cfg.max_epoch', "'train_cfg' has no key 'max_epoch'; did you mean 'max_epochs'"),
        ('param_scheduler.3.T_max', "'param_scheduler' has no key '3'"),
        ('param_scheduler.0.foo', "'param_scheduler.0' has no key 'foo'"),
        ('model.algorithm.bakbone.depth', "did you mean 'backbone'"),
        ('train_dataloader.batchsize', "did you mean 'batch_size'"),
        ('train_dataloader.dataset.indexes', "did you mean 'indices'"),
        ('default_hooks.checkpont.interval', "did you mean 'checkpoint'"),
        ('randomness.sed', "did you mean 'seed'"),
        ('optim_wrapper.optimizer.learning_rate', "no key 'learning_rate'"),
        ('env_cfg.cudnn_bench', "did you mean 'cudnn_benchmark'"),
    ],
)
def test_keys_that_do_not_exist(key, message):
    with pytest.raises(ValueError, match=message):
        check_overrides(config(randomness={}, env_cfg={'cudnn_benchmark': False}), {key: 1})
