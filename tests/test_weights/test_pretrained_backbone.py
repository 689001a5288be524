"""A pretrained backbone in another model: what arrives, what is refused."""

from __future__ import annotations

import logging

import pytest
import torch
from mmengine.logging import MMLogger
from mmpretrain.registry import MODELS

from hvs_mm.weights import PretrainedBackbone, backbone_state, load_backbone
from tests.helpers.tiny import build_hvs
from tests.helpers.tiny_classifier import VIT, build_backbone, randomize, save_backbone
from tests.helpers.tiny_dino import ARCH, RESNET, build_hvs_dino

DINOV2 = {'type': 'DINOv2VisionTransformer'}
BACKBONES = {'resnet': RESNET, 'vit': VIT}


def equal(first, second) -> bool:
    first, second = first.state_dict(), second.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


@pytest.fixture
def log():
    """The messages of MMEngine's logger."""
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel('INFO')
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)
    logger.setLevel(level)


# Reading a checkpoint


def test_the_teacher_comes_first():
    state = {'backbone.a': torch.zeros(1), 'teacher.backbone.a': torch.ones(1)}
    assert backbone_state({'state_dict': state}) == ('teacher.backbone.', {'a': torch.ones(1)})
    assert backbone_state(state, 'backbone.') == ('backbone.', {'a': torch.zeros(1)})
    del state['teacher.backbone.a']
    assert backbone_state(state) == ('backbone.', {'a': torch.zeros(1)})


def test_prefixes():
    state = {'encoder.a': torch.ones(1), 'encoder.b.backbone.c': torch.ones(1), 'other': 3}
    for prefix in ('encoder', 'encoder.'):
        found, weights = backbone_state(state, prefix)
        assert (found, set(weights)) == ('encoder.', {'a', 'b.backbone.c'})
    assert set(backbone_state(state, '')[1]) == {'encoder.a', 'encoder.b.backbone.c'}


@pytest.mark.parametrize(
    ('checkpoint', 'prefix', 'message'),
    [
        (
            {'fc.weight': 0, 'fc.bias': 0, 'layer1': 0},
            None,
            r"no tensor has a name that begins with 'teacher\.backbone\.' or 'backbone\.'; the "
            r"names begin with 'fc\.' \(2\), 'layer1\.' \(1\)\. .* '' if",
        ),
        ({'state_dict': {'backbone.a': torch.ones(1)}}, 'encoder', r"begins with 'encoder\.'"),
        ({'student': {}, 'teacher': {}}, None, 'published_to_hvs.py first'),
        ({}, None, 'the checkpoint is empty'),
        ([1, 2], None, 'the checkpoint holds a list'),
        ({'state_dict': 3}, None, 'expected a dict of tensors'),
    ],
)
def test_no_backbone(checkpoint, prefix, message):
    with pytest.raises(ValueError, match=message):
        backbone_state(checkpoint, prefix)


# Loading it


@pytest.mark.parametrize('name', BACKBONES)
def test_every_tensor_is_loaded(name, tmp_path):
    source, target = build_backbone(BACKBONES[name]), build_backbone(BACKBONES[name])
    assert not equal(source, target)
    load = load_backbone(target, save_backbone(tmp_path / 'a.pth', source))
    assert equal(source, target)
    assert load.prefix == 'backbone.'
    assert load.loaded == tuple(source.state_dict())
    assert load.is_complete
    count = len(source.state_dict())
    line = f"backbone: {count} of {count} tensors loaded from a.pth ('backbone.')"
    assert load.describe('a.pth') == line


def test_checkpoints_of_this_package(tmp_path):
    hvs = build_hvs('SimSiam')
    randomize(hvs)
    torch.save({'state_dict': hvs.state_dict()}, tmp_path / 'simsiam.pth')
    target = MODELS.build({**RESNET, 'norm_cfg': {'type': 'SyncBN'}})
    load = load_backbone(target, tmp_path / 'simsiam.pth')
    assert load.is_complete
    assert equal(target, hvs.backbone)

    for name in ('DINO', 'IBOT'):
        hvs = build_hvs_dino(name)
        torch.save({'state_dict': hvs.state_dict()}, tmp_path / 'dino.pth')
        teacher, student = MODELS.build(VIT), MODELS.build(VIT)
        assert load_backbone(teacher, tmp_path / 'dino.pth').prefix == 'teacher.backbone.'
        load = load_backbone(student, tmp_path / 'dino.pth', 'backbone')
        for module, prefix in ((teacher, 'teacher.backbone.'), (student, 'backbone.')):
            saved = hvs.state_dict()
            for key, value in module.state_dict().items():
                assert torch.equal(value, saved[prefix + key]), key
        # A plain transformer has no token for masked patches.
        assert load.is_complete
        assert load.unexpected == (('mask_token',) if name == 'IBOT' else ())
        ending = '; left over: mask_token (of pretraining alone)'
        assert load.describe('x').endswith(ending) == (name == 'IBOT')


def test_what_is_missing_and_left_over_is_named(tmp_path):
    source = build_backbone(RESNET)
    state = {f'backbone.{k}': v for k, v in source.state_dict().items()}
    for name in ('conv1.weight', 'bn1.bias', 'bn1.num_batches_tracked'):
        del state[f'backbone.{name}']
    state['backbone.extra'] = torch.ones(1)
    torch.save(state, tmp_path / 'a.pth')
    target = build_backbone(RESNET)
    before = target.conv1.weight.clone()
    with pytest.raises(ValueError, match=r'conv1\.weight, bn1\.bias; .*another architecture than'):
        load_backbone(build_backbone(RESNET), tmp_path / 'a.pth')
    load = load_backbone(target, tmp_path / 'a.pth', strict=False)
    assert load.missing == ('conv1.weight', 'bn1.bias')
    assert load.unexpected == ('extra',)
    assert not load.is_complete
    assert torch.equal(target.conv1.weight, before)
    assert torch.equal(target.bn1.weight, source.bn1.weight)
    assert load.describe('a.pth') == (
        f'backbone: {len(load.loaded)} of {len(load.loaded) + 2} tensors loaded from a.pth '
        "('backbone.'); not in the checkpoint: conv1.weight, bn1.bias; left over: extra"
    )


def test_counters_of_batches_are_never_missed(tmp_path):
    source = build_backbone(RESNET)
    weights = {k: v for k, v in source.state_dict().items() if 'num_batches' not in k}
    torch.save(weights, tmp_path / 'bare.pth')
    load = load_backbone(build_backbone(RESNET), tmp_path / 'bare.pth', prefix='')
    assert load.is_complete
    assert set(load.loaded) == set(weights)
    # The other way round: GroupNorm has the weights of BatchNorm, but no counters or statistics.
    plain = MODELS.build({**RESNET, 'norm_cfg': {'type': 'GN', 'num_groups': 2}})
    load = load_backbone(plain, save_backbone(tmp_path / 'b.pth', source), strict=False)
    assert not [name for name in load.unexpected if 'num_batches' in name]
    assert 'gn1.weight' in load.missing


def test_position_embeddings_of_another_size_are_interpolated(tmp_path):
    path = save_backbone(tmp_path / 'a.pth', source := build_backbone(VIT))
    target = build_backbone({**VIT, 'img_size': 48})
    assert load_backbone(target, path).is_complete
    # (1, 16, C) -> (1, C, 4, 4) -> (1, C, 6, 6)
    grid = source.pos_embed[:, 1:].unflatten(1, (4, 4)).permute(0, 3, 1, 2)
    grid = torch.nn.functional.interpolate(grid, (6, 6), mode='bicubic', antialias=True)
    assert torch.equal(target.pos_embed[:, 0], source.pos_embed[:, 0])
    assert torch.allclose(target.pos_embed[:, 1:], grid.flatten(2).mT, atol=1e-6)
    assert torch.equal(target.cls_token, source.cls_token)


# Refusals


@pytest.mark.parametrize(
    ('source', 'target', 'example'),
    [
        ({'type': 'ResNet', 'depth': 18}, {'type': 'ResNet', 'depth': 50}, 'layer1.0.conv1.weight'),
        ({'type': 'ResNet', 'depth': 50}, {'type': 'ResNet', 'depth': 18}, 'layer1.0.conv1.weight'),
        (
            {**VIT, 'arch': {**ARCH, 'embed_dims': 48, 'num_heads': 3}},
            VIT,
            'width 48 in the checkpoint, 32 here',
        ),
        ({**VIT, 'patch_size': 16}, VIT, 'patch size 16 in the checkpoint, 8 here'),
        (
            {**VIT, **DINOV2, 'ffn': 'swiglu'},
            {**VIT, **DINOV2, 'num_registers': 4},
            'feed-forward part SwiGLU in the checkpoint, MLP here; hidden units 48 in the '
            'checkpoint, 64 here; registers 0 in the checkpoint, 4 here',
        ),
        (VIT, {**VIT, 'layer_scale_init_value': 0.1}, 'layer scale no in the checkpoint, yes here'),
    ],
)
def test_another_architecture(source, target, example, tmp_path):
    path = save_backbone(tmp_path / 'a.pth', MODELS.build(source))
    with pytest.raises(ValueError, match='its backbone is of another architecture') as info:
        load_backbone(MODELS.build(target), path)
    assert example in str(info.value)
    assert path in str(info.value)


def test_no_name_in_common(tmp_path):
    path = save_backbone(tmp_path / 'a.pth', build_backbone(VIT))
    with pytest.raises(
        ValueError, match=r'none of the \d+ tensors .* this ResNet, which has conv1'
    ):
        load_backbone(build_backbone(RESNET), path)


def test_files_that_are_no_checkpoint(tmp_path):
    target = build_backbone(RESNET)
    with pytest.raises(FileNotFoundError, match='does not exist'):
        load_backbone(target, tmp_path / 'none.pth')
    whole = tmp_path / 'whole.pth'
    save_backbone(whole, target)
    cut = tmp_path / 'cut.pth'
    cut.write_bytes(whole.read_bytes()[:-1000])
    text = tmp_path / 'text.pth'
    text.write_text('These are no weights.\n')
    empty = tmp_path / 'empty.pth'
    empty.touch()
    for path in (cut, text, empty):
        with pytest.raises(ValueError, match=rf'{path.name} is no checkpoint'):
            load_backbone(target, path)
    torch.save({'head.fc.weight': torch.ones(1)}, tmp_path / 'head.pth')
    with pytest.raises(ValueError, match=r"head\.pth: the checkpoint holds no backbone.*'head\.'"):
        load_backbone(target, tmp_path / 'head.pth')


# As init_cfg


def classifier(config, checkpoint, **init):
    init = {'type': 'PretrainedBackbone', 'checkpoint': checkpoint, **init}
    return MODELS.build(
        {
            'type': 'ImageClassifier',
            'backbone': {**config, 'init_cfg': init},
            'head': {'type': 'LinearClsHead', 'num_classes': 2, 'in_channels': 8},
        }
    )


@pytest.mark.parametrize('name', BACKBONES)
def test_nothing_overwrites_what_was_loaded(name, tmp_path, log):
    # Transformers and their layers, and ResNets, set weights of their own when initialized.
    source = build_backbone(BACKBONES[name])
    path = save_backbone(tmp_path / 'a.pth', source)
    model = classifier(BACKBONES[name], path)
    model.init_weights()
    assert equal(source, model.backbone)
    assert 0 < model.head.fc.weight.abs().max() < 0.1
    (record,) = [r for r in log if r.getMessage().startswith('backbone: ')]
    count = len(source.state_dict())
    assert f'{count} of {count} tensors loaded from {path}' in record.getMessage()
    assert record.levelname == 'INFO'


def test_missing_tensors_are_initialized_and_a_warning(tmp_path, log):
    source = build_backbone(VIT)
    weights = source.state_dict().items()
    state = {f'encoder.{k}': v for k, v in weights if not k.startswith('layers.1.')}
    torch.save(state, tmp_path / 'a.pth')
    deeper = classifier(VIT, str(tmp_path / 'a.pth'), prefix='encoder')
    with pytest.raises(
        ValueError, match=r'another architecture .* layers 1 in the checkpoint, 2 here'
    ):
        deeper.init_weights()
    model = classifier(VIT, str(tmp_path / 'a.pth'), prefix='encoder', strict=False)
    model.init_weights()
    assert torch.equal(model.backbone.layers[0].attn.qkv.weight, source.layers[0].attn.qkv.weight)
    # The initialization of a layer itself, which torch's own does not equal.
    assert 0 < model.backbone.layers[1].ffn.layers[0][0].bias.abs().max() < 1e-4
    (record,) = [r for r in log if r.getMessage().startswith('backbone: ')]
    assert record.levelname == 'WARNING'
    assert 'not in the checkpoint: layers.1.ln1.weight, layers.1.ln1.bias' in record.getMessage()


@pytest.mark.parametrize('checkpoint', [None, ''])
def test_no_checkpoint(checkpoint):
    model = classifier(RESNET, checkpoint)
    with pytest.raises(ValueError, match=r'init_cfg\.checkpoint=PATH .*--pretrained PATH.*=None'):
        model.init_weights()


def test_outside_of_a_model(tmp_path):
    source, target = build_backbone(RESNET), build_backbone(RESNET)
    PretrainedBackbone(save_backbone(tmp_path / 'a.pth', source))(target)
    assert equal(source, target)
