"""Runs of DINO and iBOT do not collapse, and a broken one is found out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmpretrain.registry import DATASETS

from hvs_mm.engine import build_runner as build_runner_of
from hvs_mm.evaluation import KNNEvaluation, KNNSettings, output_entropy
from hvs_mm.recipes.adapt import stretch_schedule
from tests.helpers.tiny_dino import GLOBAL, build_runner, dino_config

ROOT = Path(__file__).parents[2]


@torch.no_grad()
def teacher_entropy(model, dataset):
    """Entropies of the teacher's [CLS] distributions over the images of a data set."""
    dataset = DATASETS.build(dataset)
    batch = default_collate([dataset[i] for i in range(len(dataset))])
    inputs = model.data_preprocessor(batch)['inputs']
    logits = model.teacher['neck'](model.teacher['backbone'](inputs))[0]
    logits = logits.reshape(len(dataset), -1)
    probabilities = ((logits - model.head.center) / model.head.current_teacher_temp()).softmax(-1)
    return output_entropy(probabilities)


@pytest.mark.parametrize(
    ('name', 'is_centered'),
    [
        ('DINO', True),
        ('IBOT', True),
        ('DINO', False),
        pytest.param('DINOv2', True, marks=pytest.mark.slow),
        pytest.param('DINOv2', False, marks=pytest.mark.slow),
    ],
)
def test_sixty_steps(tmp_path, name, is_centered):
    # With this momentum the centers stay where they begin, at zero.
    head = {} if is_centered else dict(center_momentum=1.0)
    if name == 'DINOv2':
        head = {} if is_centered else dict(**head, centering='softmax', koleo_weight=0)
    algorithm = dino_config(name, num_crops=2, head=head)
    model = dict(type='HVSAlgorithm', algorithm=algorithm, candidates=[2, 2], keep=[1, 1])
    runner = build_runner(
        tmp_path,
        model,
        batch_size=8,
        num_batches=60,
        max_epochs=1,
        hooks=[dict(type='TeacherHook', momentum=0.9)],
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=5e-4)),
    )
    runner.train()
    pipeline = [dict(type='Resize', scale=GLOBAL), dict(type='PackInputs')]
    val = dict(type='ShapesDataset', split='val', num_samples=256, img_size=48, pipeline=pipeline)
    entropy = teacher_entropy(runner.model, val)
    assert entropy.is_collapsed != is_centered, entropy


@pytest.mark.slow
@pytest.mark.parametrize('name', ['hvs_dino', 'hvs_ibot'])
def test_two_epochs_of_the_demo(tmp_path, name):
    cfg = Config.fromfile(ROOT / f'configs/demo/{name}.py')
    cfg.work_dir = str(tmp_path)
    stretch_schedule(cfg, 2)
    # Half the network, a quarter of the images, and no processes that load them.
    cfg.model.algorithm.backbone.arch.num_layers = 2
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.train_dataloader.dataset.num_samples = 512
    if name == 'hvs_dino':
        cfg.model.update(candidates=[2, 2, 2], keep=[1, 1, 1])
        cfg.model.algorithm.head.num_crops = 3
        cfg.train_dataloader.dataset.pipeline[0].num_views = [2, 2, 2]
    queries = {**cfg.train_dataloader.dataset, 'split': 'val', 'num_samples': 512}
    del queries['pipeline']
    evaluate = KNNEvaluation(cfg, KNNSettings(queries=queries, k=20))
    runner = build_runner_of(cfg)
    runner.model.init_weights()
    before = evaluate(runner.model).accuracy[20].top1
    runner.train()
    after = evaluate(runner.model).accuracy[20].top1
    entropy = teacher_entropy(runner.model, {**queries, 'pipeline': cfg.knn_pipeline})
    assert not entropy.is_collapsed, entropy
    # 10 % is chance, and the untrained network is above it.
    assert after > max(15, before - 5)


def test_output_entropy():
    one = torch.zeros(100, 8)
    one[:, 3] = 1
    assert output_entropy(one) == pytest.approx((0, 0))
    assert output_entropy(one).is_collapsed
    uniform = torch.full((100, 8), 1 / 8)
    assert output_entropy(uniform) == pytest.approx((1, 1))
    assert output_entropy(uniform).is_collapsed
    spread = torch.eye(8).repeat(10, 1)
    assert output_entropy(spread) == pytest.approx((1, 0))
    assert not output_entropy(spread).is_collapsed


def test_too_few_images_for_the_mean_output():
    """One-hot outputs that are spread evenly by chance must not look like a collapse."""
    with pytest.raises(ValueError, match=r'15 images.*8 prototypes: take at least 16'):
        output_entropy(torch.eye(8)[torch.arange(15) % 8])
    for prototypes in (8, 256, 4096):
        one_hot = torch.eye(prototypes)[torch.randint(prototypes, (2 * prototypes,))]
        assert not output_entropy(one_hot).is_collapsed
