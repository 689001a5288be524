"""Published checkpoints in our models: same features, same logits, and the way back."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
import torchvision
from mmpretrain.registry import MODELS
from torch import Tensor, nn
from torch.testing import assert_close

from hvs_mm.weights.published import from_published, to_published
from tests.helpers import published
from tests.helpers.tools import load_tool

converter = load_tool('model_converters/published_to_hvs')

VIT = {
    'type': 'VisionTransformer',
    'arch': published.ARCH,
    'img_size': published.SIZE,
    'patch_size': published.PATCH,
    'out_type': 'cls_token',
}
MASKED_VIT = {**VIT, 'type': 'MaskedVisionTransformer'}


def neck_config(**kwargs: Any) -> dict[str, Any]:
    return {
        'type': 'DINONeck',
        'in_channels': published.WIDTH,
        'out_channels': published.PROTOTYPES,
        'hidden_channels': published.HIDDEN,
        'bottleneck_channels': published.BOTTLENECK,
        **kwargs,
    }


def dino_config(**backbone: Any) -> dict[str, Any]:
    return {
        'type': 'DINO',
        'backbone': {**VIT, **backbone},
        'neck': neck_config(),
        'head': {'type': 'DINOHead', 'out_channels': published.PROTOTYPES},
    }


def ibot_config(shared_head: bool, patch_prototypes: int, **backbone: Any) -> dict[str, Any]:
    patch = {'patch_out_channels': patch_prototypes}
    return {
        'type': 'IBOT',
        'backbone': {**MASKED_VIT, **backbone},
        'neck': neck_config(type='IBOTNeck', shared_head=shared_head, **patch),
        'head': {'type': 'IBOTHead', 'out_channels': published.PROTOTYPES, **patch},
    }


def build(config: dict[str, Any]) -> nn.Module:
    model = MODELS.build(config).double()
    # Not chained: the `train` of MMPretrain's backbones returns nothing.
    model.eval()
    return model


def part(network: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors of the backbone or the head of a published network, without prefix."""
    found = {}
    for key, value in network.items():
        match = re.fullmatch(rf'(?:module\.)?{name}\.(.*)', key)
        if match:
            found[match[1]] = value
    return found


def assert_same_weights(actual: dict[str, Any], expected: dict[str, Any]) -> None:
    assert actual.keys() == expected.keys()
    for group, tensors in expected.items():
        assert actual[group].keys() == tensors.keys(), group
        for key, value in tensors.items():
            assert torch.equal(actual[group][key], value), key


def weights_of(checkpoint: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in checkpoint.items() if k not in ('optimizer', 'epoch', 'args')}


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, 3, published.SIZE, published.SIZE, dtype=torch.float64)


@torch.no_grad()
def test_dino_gives_the_features_and_logits_of_the_published_networks(images):
    checkpoint = published.dino_checkpoint()
    state_dict, unmatched, notes = from_published(checkpoint)
    assert unmatched == []
    assert notes == ['left out, no weights: optimizer, epoch, args.']
    model = build(dino_config())
    model.load_state_dict(state_dict, strict=True)
    assert converter.check_fit(state_dict, model, 'a config') == []
    for network, logits in (
        (checkpoint['student'], model.student_logits([images])),
        (checkpoint['teacher'], model.teacher_logits([images])),
    ):
        features = published.vit_tokens(part(network, 'backbone'), images)[:, 0]
        assert_close(logits[:, 0], published.head_logits(part(network, 'head'), features))
    assert_close(
        model.backbone(images)[-1],
        published.vit_tokens(part(checkpoint['student'], 'backbone'), images)[:, 0],
    )
    assert torch.equal(model.head.center, checkpoint['dino_loss']['center'])


@pytest.mark.parametrize('wrap', ['', 'module.'])
@torch.no_grad()
def test_weight_normalized_layers_that_torch_parametrizes(images, wrap):
    """As automl/hvp saves them: other names, the same logits."""
    head = published.head()
    layer = nn.Linear(published.BOTTLENECK, published.PROTOTYPES, bias=False).double()
    layer = nn.utils.parametrizations.weight_norm(layer)
    layer.load_state_dict(
        {
            'parametrizations.weight.original0': head.pop('last_layer.weight_g'),
            'parametrizations.weight.original1': head.pop('last_layer.weight_v'),
        }
    )
    head |= {f'last_layer.{name}': value for name, value in layer.state_dict().items()}
    network = published.network(published.vit(), head, wrap)
    center = torch.zeros(1, published.PROTOTYPES)
    checkpoint = {
        'student': network,
        'teacher': network,
        'dino_loss': {'center': center + 1, 'running_center': center},
        'total_time': 3600,
        **published.training_state(),
    }
    state_dict, unmatched, notes = from_published(checkpoint)
    assert unmatched == []
    assert notes == ['left out, no weights: optimizer, epoch, args, total_time.']
    model = build(dino_config())
    model.load_state_dict(state_dict, strict=True)
    features = published.vit_tokens(part(network, 'backbone'), images)[:, 0]
    for number in (0, 2, 4):
        features = features @ head[f'mlp.{number}.weight'].T + head[f'mlp.{number}.bias']
        features = nn.functional.gelu(features) if number < 4 else features
    expected = layer(nn.functional.normalize(features, dim=-1))
    assert_close(model.student_logits([images])[:, 0], expected)
    assert_close(model.teacher_logits([images])[:, 0], expected)


@pytest.mark.parametrize('layer_scale', [False, True])
@pytest.mark.parametrize('heads', ['shared', 'separate'])
@torch.no_grad()
def test_ibot_gives_the_features_and_logits_of_the_published_networks(images, heads, layer_scale):
    checkpoint = published.ibot_checkpoint(heads, heads, layer_scale)
    state_dict, unmatched, notes = from_published(checkpoint)
    assert unmatched == []
    assert any('shared_head=True' in note for note in notes) == (heads == 'shared')
    count = checkpoint['ibot_loss']['center2'].shape[-1]
    scale = {'layer_scale_init_value': 0.1} if layer_scale else {}
    model = build(ibot_config(heads == 'shared', count, **scale))
    model.load_state_dict(state_dict, strict=True)
    mask = torch.rand(3, *2 * (published.SIZE // published.PATCH,)) < 0.4
    for network, backbone, neck, masks in (
        (checkpoint['student'], model.backbone, model.neck, (mask, None)),
        (checkpoint['teacher'], model.teacher['backbone'], model.teacher['neck'], (None,)),
    ):
        for one in masks:
            tokens = backbone(images, one)[-1]
            assert_close(tokens, published.vit_tokens(part(network, 'backbone'), images, one))
        projection = part(network, 'head')
        assert_close(neck((tokens,))[0], published.head_logits(projection, tokens[:, 0]))
        assert_close(
            neck.patch_logits(tokens[:, 1:].flatten(0, 1)),
            published.head_logits(projection, tokens[:, 1:], 'last_layer2').flatten(0, 1),
        )
    assert torch.equal(model.head.patch_center, checkpoint['ibot_loss']['center2'][0])


@pytest.mark.parametrize(
    'checkpoint',
    [
        published.dino_checkpoint(),
        published.ibot_checkpoint('shared', 'shared'),
        published.ibot_checkpoint('separate', 'separate', layer_scale=True),
        published.ibot_checkpoint('separate', 'shared'),
    ],
    ids=['dino', 'ibot-shared', 'ibot-separate', 'ibot-shared-teacher'],
)
def test_way_back_gives_the_published_weights(checkpoint):
    back, unmatched, _ = to_published({'state_dict': from_published(checkpoint).weights})
    assert unmatched == []
    assert_same_weights(back, weights_of(checkpoint))


def test_a_shared_teacher_beside_a_student_of_two_heads_is_reported():
    state_dict, _, notes = from_published(published.ibot_checkpoint('separate', 'shared'))
    assert any(note.startswith('teacher.neck.last_layer2 equals') for note in notes)
    assert torch.equal(
        state_dict['teacher.neck.last_layer2.weight_v'],
        state_dict['teacher.neck.last_layer.weight_v'],
    )


def test_way_back_from_a_model_with_selection():
    torch.manual_seed(1)
    config = ibot_config(True, published.PROTOTYPES)
    config['head']['num_crops'] = 2
    model = MODELS.build(
        {'type': 'HVSAlgorithm', 'algorithm': config, 'candidates': [4], 'keep': [2]}
    )
    state_dict = model.state_dict()
    checkpoint, unmatched, notes = to_published(state_dict)
    assert unmatched == []
    assert any('teacher.backbone.mask_token' in note for note in notes)
    assert set(checkpoint) == {'student', 'teacher', 'ibot_loss'}
    expected = published.ibot_checkpoint('shared', 'shared')
    for group in checkpoint:
        shapes = {key: value.shape for key, value in checkpoint[group].items()}
        assert shapes == {key: value.shape for key, value in expected[group].items()}
    again = from_published(checkpoint).weights
    assert again.keys() == state_dict.keys()
    for key, value in state_dict.items():
        if key != 'teacher.backbone.mask_token':
            assert torch.equal(again[key], value), key


@pytest.mark.parametrize('wrap', ['bare', 'ibot', 'prefixed'])
@torch.no_grad()
def test_backbone_alone(wrap, images):
    weights = published.vit()
    checkpoint = {
        'bare': weights,
        'ibot': {'state_dict': weights},
        'prefixed': {f'module.backbone.{key}': value for key, value in weights.items()},
    }[wrap]
    state_dict, unmatched, notes = from_published(checkpoint)
    assert (unmatched, notes) == ([], [])
    assert all(key.startswith('backbone.') for key in state_dict)
    model = build(ibot_config(True, published.PROTOTYPES))
    notes = converter.check_fit(state_dict, model, 'a config')
    assert notes == [
        'not in the checkpoint, initialized as configured: head.*, neck.*, teacher.backbone.*, '
        'teacher.neck.*.',
        'not in the checkpoint, initialized as configured: backbone.mask_token.',
    ]
    assert_close(model.backbone(images)[-1], published.vit_tokens(weights, images))
    back = to_published(state_dict)
    assert back.unmatched == []
    assert_same_weights({'': back.weights}, {'': weights})


@torch.no_grad()
def test_resnet(images):
    reference = torchvision.models.resnet50().double()
    for buffer in reference.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    weights = reference.state_dict()
    state_dict, unmatched, _ = from_published(weights)
    assert unmatched == ['fc.weight', 'fc.bias']
    assert len(state_dict) == len(weights) - 2
    model = build({**dino_config(), 'backbone': {'type': 'ResNet', 'depth': 50}})
    assert converter.check_fit(state_dict, model, 'a config')
    expected = nn.Sequential(*list(reference.eval().children())[:-2])(images)
    assert_close(model.backbone(images)[-1], expected)

    # BatchNorm makes the published code wrap the teacher, too.
    trunk = {k: v for k, v in weights.items() if not k.startswith('fc.')}
    full = {
        'student': published.network(trunk, published.head(2048), 'module.'),
        'teacher': published.network(trunk, published.head(2048), 'module.'),
        'dino_loss': {'center': torch.zeros(1, published.PROTOTYPES)},
    }
    converted = from_published(full)
    assert converted.unmatched == []
    assert_same_weights(to_published(converted.weights).weights, full)


@pytest.mark.parametrize('prefix', ['backbone.', 'teacher.backbone.'])
@torch.no_grad()
def test_backbone_of_ibot_loads_into_the_plain_vision_transformer(prefix, images, tmp_path):
    checkpoint = published.ibot_checkpoint('shared', 'shared')
    path = tmp_path / 'ibot.pth'
    torch.save({'state_dict': from_published(checkpoint).weights, 'meta': {}}, path)
    init = {'type': 'Pretrained', 'checkpoint': str(path), 'prefix': prefix}
    model = build({**VIT, 'init_cfg': init})
    model.init_weights()
    network = checkpoint['teacher' if prefix.startswith('teacher') else 'student']
    expected = published.vit_tokens(part(network, 'backbone'), images)[:, 0]
    assert_close(model(images)[-1], expected)


@torch.no_grad()
def test_backbone_of_a_trained_model_loads_into_the_plain_vision_transformer(images, tmp_path):
    model = build(ibot_config(True, published.PROTOTYPES))
    model.init_weights()
    path = tmp_path / 'epoch_1.pth'
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, path)
    init = {'type': 'Pretrained', 'checkpoint': str(path), 'prefix': 'backbone.'}
    plain = build({**VIT, 'init_cfg': init})
    plain.init_weights()
    assert torch.equal(plain(images)[-1], model.backbone(images)[-1][:, 0])


def test_unknown_names_are_listed():
    checkpoint = published.dino_checkpoint()
    checkpoint['student']['module.backbone.extra.weight'] = torch.zeros(1)
    checkpoint['teacher']['head.last_layer.bias'] = torch.zeros(1)
    checkpoint['dino_loss']['momentum'] = torch.zeros(1)
    checkpoint['ema'] = 3
    # The same place twice: one would overwrite the other.
    checkpoint['teacher']['module.backbone.cls_token'] = torch.zeros(1)
    state_dict, unmatched, _ = from_published(checkpoint)
    assert sorted(unmatched) == [
        'dino_loss.momentum',
        'ema',
        'student.module.backbone.extra.weight',
        'teacher.head.last_layer.bias',
        'teacher.module.backbone.cls_token',
    ]
    assert len(state_dict) == len(from_published(published.dino_checkpoint()).weights)

    state_dict['neck.extra'] = torch.zeros(1)
    assert to_published(state_dict).unmatched == ['neck.extra']


def test_summary_counts_parts():
    state_dict = from_published(published.dino_checkpoint()).weights
    assert converter.summary(state_dict) == (
        'backbone.* 30, neck.* 8, teacher.backbone.* 30, teacher.neck.* 8, head.* 1'
    )


@pytest.mark.parametrize('convert', [from_published, to_published])
def test_nothing_known(convert):
    with pytest.raises(ValueError, match=r'0 of 2 names are known.*: fc1.weight, fc2.weight'):
        convert({'fc1.weight': torch.zeros(1), 'fc2.weight': torch.zeros(1)})
    with pytest.raises(ValueError, match=r'0 of 0 names .* the file is empty'):
        convert({'state_dict': {}})
    with pytest.raises(TypeError, match='a checkpoint is a dict, this is list'):
        convert([torch.zeros(1)])


def test_converting_twice_is_reported():
    state_dict = from_published(published.dino_checkpoint()).weights
    with pytest.raises(ValueError, match=r'projection.weight. is a name of MMPretrain'):
        from_published({'state_dict': state_dict})


@pytest.mark.parametrize(
    ('backbone', 'first'),
    [
        (
            {'arch': {**published.ARCH, 'embed_dims': 32}},
            'backbone.cls_token: (1, 1, 16) in the checkpoint, (1, 1, 32) in the model',
        ),
        (
            {'arch': {**published.ARCH, 'num_layers': 3}},
            'backbone.layers.2.ln1.weight: not in the checkpoint, (16,) in the model',
        ),
        (
            {'arch': {**published.ARCH, 'num_layers': 1}},
            'backbone.layers.1.ln1.weight: (16,) in the checkpoint, not in the model',
        ),
        (
            {'patch_size': 16},
            'backbone.patch_embed.projection.weight: (16, 3, 8, 8) in the checkpoint, '
            '(16, 3, 16, 16) in the model',
        ),
    ],
    ids=['width', 'deeper', 'shallower', 'patch'],
)
def test_another_architecture_is_one_clear_error(backbone, first):
    state_dict = from_published(published.dino_checkpoint()).weights
    model = build(dino_config(**backbone))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=r'of another architecture than my_config\.py') as info:
        converter.check_fit(state_dict, model, 'my_config.py')
    lines = str(info.value).splitlines()
    assert f'  {first}' in lines[1:6]
    assert "prefix='backbone.'" in lines[-1]
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_ibot_does_not_fit_dino():
    state_dict = from_published(published.ibot_checkpoint()).weights
    expected = r'backbone.mask_token: \(1, 1, 16\) in the checkpoint, not in the model'
    with pytest.raises(ValueError, match=expected):
        converter.check_fit(state_dict, build(dino_config()), 'a config')


def test_another_image_size_is_a_note():
    state_dict = from_published(published.dino_checkpoint()).weights
    notes = converter.check_fit(state_dict, build(dino_config(img_size=48)), 'a config')
    assert notes == [
        f'{name} (1, 17, 16) is resized to (1, 37, 16) on loading.'
        for name in ('backbone.pos_embed', 'teacher.backbone.pos_embed')
    ]
