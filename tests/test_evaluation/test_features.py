"""Features of a loader, and that the model does not notice."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler, default_collate
from mmpretrain.registry import DATASETS, MODELS
from mmpretrain.structures import DataSample
from torch import distributed, nn
from torch.utils.data import DataLoader

from hvs_mm.engine import CPUDistributedDataParallel
from hvs_mm.evaluation import extract_features, feature_networks
from hvs_mm.evaluation.features import pool_features
from hvs_mm.models import HVSAlgorithm
from hvs_mm.utils.state_guard import preserve_state
from tests.helpers.tiny import algorithm_config, build_algorithm
from tests.helpers.tiny_dino import ARCH, GLOBAL, PATCH, build_dino

PREPROCESSOR = {'type': 'SelfSupDataPreprocessor', 'mean': [127.5] * 3, 'std': [60.0] * 3}
PIPELINE = [{'type': 'Resize', 'scale': GLOBAL}, {'type': 'PackInputs'}]


def shapes(number=11, pipeline=PIPELINE):
    return DATASETS.build(
        dict(type='ShapesDataset', num_samples=number, img_size=32, pipeline=pipeline)
    )


def loader(dataset=None, **kwargs):
    dataset = shapes() if dataset is None else dataset
    kwargs.setdefault('sampler', DefaultSampler(dataset, shuffle=False, seed=0))
    return DataLoader(dataset, kwargs.pop('batch_size', 4), collate_fn=default_collate, **kwargs)


def images(dataset):
    """All images of a data set, preprocessed by hand."""
    return (torch.stack([sample['inputs'] for sample in dataset]).float() - 127.5) / 60


def simsiam(**kwargs):
    """In eval mode it normalizes with statistics that are not those it starts with."""
    model = MODELS.build(
        {**algorithm_config('SimSiam', {'type': 'BN'}, **kwargs), 'data_preprocessor': PREPROCESSOR}
    )
    with torch.no_grad():
        model.train().backbone(torch.randn(16, 3, 32, 32))
    return model


def teacher_student(name='DINO'):
    model = build_dino(name, drop_path=0.5)
    model.data_preprocessor = MODELS.build(PREPROCESSOR)
    return model


def vit(**kwargs):
    return MODELS.build(
        dict(type='VisionTransformer', arch=ARCH, img_size=GLOBAL, patch_size=PATCH, **kwargs)
    )


# --- What is extracted -----------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize('batch_size', [1, 4, 11, 64])
def test_feature_maps_are_averaged(batch_size):
    model, dataset = simsiam(), shapes()
    found = extract_features(model, loader(dataset, batch_size=batch_size))
    maps = model.eval().backbone(images(dataset))[-1]
    assert maps.ndim == 4
    torch.testing.assert_close(found.features, maps.flatten(2).mean(2))
    assert found.labels.tolist() == [i % 10 for i in range(11)]
    assert found.indices.tolist() == list(range(11))
    assert found.features.dtype == torch.float32


@torch.no_grad()
@pytest.mark.parametrize('name', ['DINO', 'IBOT'])
@pytest.mark.parametrize('network', ['teacher', 'student', None])
def test_the_teacher_is_evaluated_by_default(name, network):
    model, dataset = teacher_student(name), shapes()
    found = extract_features(model, loader(dataset), network).features
    model.eval()
    backbone = model.backbone if network == 'student' else model.teacher['backbone']
    output = backbone(images(dataset))[-1]
    # iBOT's backbone returns tokens, DINO's the [CLS] token.
    expected = output[:, 0] if name == 'IBOT' else output
    torch.testing.assert_close(found, expected)
    other = model.teacher['backbone'] if network == 'student' else model.backbone
    assert not torch.allclose(found, pool_features(other(images(dataset))), atol=1e-2)


def test_hard_view_selection_changes_nothing():
    dataset = shapes()
    for algorithm in (simsiam(), teacher_student()):
        plain = extract_features(algorithm, loader(dataset)).features
        counts = dict(candidates=[4], keep=[2])
        if hasattr(algorithm, 'teacher'):
            counts = dict(candidates=[4, 4], keep=[2, 2])
        wrapped = HVSAlgorithm(algorithm, **counts)
        assert torch.equal(extract_features(wrapped, loader(dataset)).features, plain)
        assert list(feature_networks(wrapped)) == list(feature_networks(algorithm))


def test_a_wrapped_model(tmp_path):
    model = teacher_student()
    alone = extract_features(model, loader()).features
    distributed.init_process_group(
        'gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1
    )
    try:
        wrapped = CPUDistributedDataParallel(model, broadcast_buffers=False)
        assert torch.equal(extract_features(wrapped, loader()).features, alone)
    finally:
        distributed.destroy_process_group()


@torch.no_grad()
@pytest.mark.parametrize('out_type', ['cls_token', 'raw', 'featmap'])
def test_a_backbone_without_an_algorithm(out_type):
    backbone = vit(out_type=out_type)
    dataset = shapes(pipeline=[*PIPELINE[:1], ToFloat(), PIPELINE[1]])
    assert list(feature_networks(backbone)) == ['backbone']
    found = extract_features(backbone, loader(dataset), 'backbone').features
    inputs = torch.stack([sample['inputs'] for sample in dataset])
    backbone.eval()
    output = backbone(inputs)[-1]
    expected = {
        'cls_token': lambda x: x,
        'raw': lambda x: x[:, 0],
        'featmap': lambda x: x.mean(-1).mean(-1),
    }[out_type](output)
    torch.testing.assert_close(found, expected)


class ToFloat:
    def __call__(self, results):
        results['img'] = results['img'].astype(np.float32) / 255
        return results


def test_an_image_classifier():
    config = dict(
        type='ImageClassifier',
        backbone=algorithm_config('SimSiam', {'type': 'BN'})['backbone'],
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=10, in_channels=64),
        data_preprocessor=dict(mean=[127.5] * 3, std=[60.0] * 3, to_rgb=False),
    )
    model, dataset = MODELS.build(config), shapes()
    found = extract_features(model, loader(dataset)).features
    with torch.no_grad():
        maps = model.eval().backbone(images(dataset))[-1]
    torch.testing.assert_close(found, maps.mean((2, 3)))


def test_the_order_is_that_of_the_sampler():
    # What the second of three processes gets, with a sample that pads.
    order = [4, 1, 7, 10, 0, 1]
    found = extract_features(simsiam(), loader(sampler=order))
    assert found.indices.tolist() == order
    assert found.labels.tolist() == [4, 1, 7, 0, 0, 1]
    assert torch.equal(found.features[1], found.features[5])
    assert not torch.equal(found.features[0], found.features[1])
    dropped = extract_features(simsiam(), loader(sampler=order, drop_last=True))
    assert dropped.indices.tolist() == order[:4]
    assert len(dropped) == 4


def test_a_process_without_images():
    found = extract_features(simsiam(), loader(sampler=[]))
    assert found.features.shape == (0, 0)
    assert len(found) == 0


def test_half_precision_is_widened():
    output = torch.randn(3, 4, 5, 5, dtype=torch.float16)
    pooled = pool_features([output])
    assert pooled.dtype == torch.float32
    torch.testing.assert_close(pooled, output.float().mean((2, 3)))


# --- What is left alone ----------------------------------------------------------------------


class Restless(nn.Module):
    """Draws random numbers and writes to a buffer, whatever its mode."""

    def __init__(self, fail=False):
        super().__init__()
        self.fail = fail
        self.register_buffer('calls', torch.zeros(1))
        self.frozen = nn.BatchNorm2d(3).eval()
        self.norm = nn.BatchNorm2d(3)
        self.dropout = nn.Dropout()

    def forward(self, x):
        self.calls += 1
        torch.rand(1), random.random(), np.random.rand()
        if self.fail:
            raise RuntimeError('broken')
        return self.dropout(self.norm(self.frozen(x.float())))


def snapshot(model):
    return (
        [(name, module.training) for name, module in model.named_modules()],
        {name: value.clone() for name, value in model.state_dict().items()},
        (torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1:3]),
    )


def check_same(before, after):
    assert before[0] == after[0]
    assert before[1].keys() == after[1].keys()
    assert all(torch.equal(value, after[1][name]) for name, value in before[1].items())
    np.testing.assert_equal(before[2], after[2])


@pytest.mark.parametrize('num_workers', [0, 1])
@pytest.mark.parametrize('training', [True, False])
def test_the_model_is_left_as_it_was(training, num_workers):
    for model in (Restless(), simsiam(), teacher_student(), simsiam(norm_eval=True)):
        model.train(training)
        if isinstance(model, Restless):
            model.frozen.eval()
        parameters = list(model.parameters())
        before = snapshot(model)
        found = extract_features(model, loader(num_workers=num_workers))
        check_same(before, snapshot(model))
        assert all(a is b for a, b in zip(parameters, model.parameters()))
        assert not found.features.requires_grad
        assert torch.is_grad_enabled()


def test_the_wrapper_is_left_as_it_was():
    model = HVSAlgorithm(simsiam(), candidates=[4], keep=[2])
    for training in (True, False):
        model.train(training)
        before = snapshot(model.algorithm)
        extract_features(model, loader())
        check_same(before, snapshot(model.algorithm))
        assert model.training == training


def test_after_a_failure_too():
    model = Restless(fail=True).train()
    model.frozen.eval()
    before = snapshot(model)
    with pytest.raises(RuntimeError, match='broken'):
        extract_features(model, loader())
    check_same(before, snapshot(model))


def test_eval_mode_during_extraction():
    model = simsiam().train()
    with preserve_state(model, evaluate=True):
        assert not any(module.training for module in model.modules())
    assert all(module.training for module in model.modules())


def test_dropout_and_batch_statistics_are_off():
    model, dataset = teacher_student().train(), shapes()
    first = extract_features(model, loader(dataset), 'student').features
    assert torch.equal(extract_features(model, loader(dataset), 'student').features, first)
    model = simsiam().train()
    whole = extract_features(model, loader(dataset, batch_size=11)).features
    single = extract_features(model, loader(dataset, batch_size=1)).features
    torch.testing.assert_close(single, whole)


# --- Bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize('network', ['teacher', 'student', 'neck'])
def test_a_network_that_is_not_there(network):
    with pytest.raises(ValueError, match=rf"network='{network}': SimSiam has 'backbone'; leave"):
        extract_features(build_algorithm('SimSiam'), loader(), network)


def test_dino_has_two():
    message = "network='backbone': DINO has 'teacher' and 'student'"
    with pytest.raises(ValueError, match=message):
        extract_features(teacher_student(), loader(), 'backbone')


@pytest.mark.parametrize(
    'shuffled',
    [
        lambda dataset: DataLoader(dataset, 4, shuffle=True, collate_fn=default_collate),
        lambda dataset: loader(dataset, sampler=torch.utils.data.RandomSampler(dataset)),
    ],
)
def test_a_loader_that_shuffles(shuffled):
    with pytest.raises(ValueError, match=r'the loader shuffles \(RandomSampler\)'):
        extract_features(simsiam(), shuffled(shapes()))


class Samples(torch.utils.data.Dataset):
    """Images with the data samples given."""

    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        sample = {} if self.samples[i] is None else {'data_samples': self.samples[i]}
        return {'inputs': torch.zeros(3, 32, 32), **sample}


@pytest.mark.parametrize(
    ('samples', 'message'),
    [
        ([DataSample(metainfo={'img_path': 'a/b.jpg'})], r'an image \(a/b.jpg\) has no label;'),
        ([DataSample()], 'an image has no label; k-NN needs exactly one gt_label'),
        ([DataSample().set_gt_label([1, 2])], 'an image has 2 labels'),
        ([None, None], "gives 0 data samples for 2 images.*end with dict.type='PackInputs'"),
    ],
)
def test_images_without_one_label(samples, message):
    with pytest.raises(ValueError, match=message):
        extract_features(Restless(), loader(Samples(samples)))


@pytest.mark.parametrize(
    ('output', 'message'),
    [
        (torch.zeros(3), r'returns \(3,\), expected feature maps'),
        ([torch.zeros(1, 2, 3, 4, 5)], r'returns \(1, 2, 3, 4, 5\)'),
        ({'a': 1}, 'returns dict'),
        ([['a']], 'returns list'),
    ],
)
def test_an_output_that_is_no_feature(output, message):
    with pytest.raises(ValueError, match=message):
        pool_features(output)
