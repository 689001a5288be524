"""``tools/extract_backbone.py``: equal features in torchvision and timm, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from mmengine.config import Config
from mmpretrain.registry import MODELS
from torch import Tensor, nn
from torch.testing import assert_close

from hvs_mm.weights.timm_torchvision import rename_backbone
from tests.helpers import tiny_dino
from tests.helpers.tools import load_tool, run_tool

TOOL = Path(__file__).parents[2] / 'tools' / 'extract_backbone.py'
SMALL_ARCH = {'embed_dims': 32, 'num_layers': 2, 'num_heads': 4, 'feedforward_channels': 80}
SMALL_VIT = {'type': 'VisionTransformer', 'arch': SMALL_ARCH, 'img_size': 32, 'patch_size': 8}
DEIT_SMALL = {'type': 'VisionTransformer', 'arch': 'deit-small', 'img_size': 224, 'patch_size': 16}
RESNET50 = {'type': 'ResNet', 'depth': 50, 'norm_cfg': {'type': 'SyncBN'}}


class Unknown:
    """Something that no checkpoint of this package holds."""


def extract(*args: Any) -> None:
    load_tool('extract_backbone').main([str(arg) for arg in args])


def build(config: dict[str, Any]) -> nn.Module:
    """A backbone of MMPretrain whose every weight and statistic is its own."""
    config = {**config, 'norm_cfg': {'type': 'BN'}} if 'depth' in config else config
    model = MODELS.build(config)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.endswith('running_var'):
                value.uniform_(0.5, 2)
            elif name.endswith('num_batches_tracked'):
                value.fill_(7)
            elif value.ndim == 1:
                value += 0.2 * torch.randn_like(value)
            elif value.is_floating_point():
                value += 0.02 * torch.randn_like(value)
    # Not chained: the `train` of MMPretrain's backbones returns nothing.
    model.eval()
    return model


def save(path: Path, config: dict[str, Any] | None = None, **backbones: nn.Module) -> Path:
    """A checkpoint as MMEngine writes it, of a model with these parts."""
    state = {
        f'{part.replace("_", ".")}.{name}': value
        for part, module in backbones.items()
        for name, value in module.state_dict().items()
    }
    state['neck.fc.weight'] = torch.zeros(2, 2)
    meta = {'epoch': 1}
    if config is not None:
        meta['cfg'] = Config({'model': config}).pretty_text
    torch.save({'state_dict': state, 'meta': meta}, path)
    return path


def printed_model(output: str) -> nn.Module:
    (line,) = (line for line in output.splitlines() if line.startswith('model: '))
    return eval(line.removeprefix('model: '), {'timm': timm, 'torchvision': torchvision})


def note(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith('note: ')]


@torch.no_grad()
def assert_same_features(ours: nn.Module, theirs: nn.Module, *shape: int) -> Tensor:
    """Compare the last output of MMPretrain with that of a model without classifier."""
    images = torch.randn(2, *shape, dtype=torch.float64)
    ours.double()
    expected = ours(images)[-1]
    if expected.ndim == 4:
        expected = expected.mean((2, 3))
    assert expected.std() > 0.01
    assert_close(theirs.double().eval()(images), expected, atol=1e-5, rtol=1e-5)


def test_resnet50_has_the_features_of_torchvision(tmp_path, capsys):
    backbone = build(RESNET50)
    checkpoint = save(
        tmp_path / 'epoch_1.pth',
        {
            'type': 'HVSAlgorithm',
            'algorithm': {'type': 'SimSiam', 'backbone': RESNET50},
            'candidates': [4],
            'keep': [2],
        },
        backbone=backbone,
    )
    out = tmp_path / 'new' / 'resnet50.pth'
    extract(checkpoint, out)
    output = capsys.readouterr().out
    assert output.splitlines() == [
        'architecture: ResNet-50',
        'from: backbone.*',
        f'written: {out}, 318 tensors, names of torchvision',
        'left out: nothing',
        'model: torchvision.models.resnet50()',
    ]
    state = torch.load(out, weights_only=True)
    model = printed_model(output)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert (missing, unexpected) == (['fc.weight', 'fc.bias'], [])
    model.fc = nn.Identity()
    assert_same_features(backbone, model, 3, 224, 224)
    assert_same_features(backbone, model, 3, 97, 130)

    extract(checkpoint, tmp_path / 'timm.pth', '--style', 'timm')
    model = printed_model(capsys.readouterr().out)
    model.load_state_dict(torch.load(tmp_path / 'timm.pth', weights_only=True), strict=True)
    assert_same_features(backbone, model, 3, 97, 130)


@pytest.mark.parametrize('depth', [18, 34, 50, 101, 152])
def test_all_resnets_of_torchvision(depth):
    state = MODELS.build({**RESNET50, 'depth': depth}).state_dict()
    with torch.device('meta'):
        models = torchvision.models, timm.models
        expected = [getattr(library, f'resnet{depth}')().state_dict() for library in models]
    for style, theirs in zip(('torchvision', 'timm'), expected):
        renamed = rename_backbone(state, style)
        assert renamed.architecture == f'ResNet-{depth}'
        assert f'resnet{depth}' in renamed.model
        theirs = {k: v.shape for k, v in theirs.items() if not k.startswith('fc.')}
        assert {k: v.shape for k, v in renamed.weights.items()} == theirs


def test_vit_small_has_the_features_of_timm(tmp_path, capsys):
    student, teacher = build(DEIT_SMALL), build(DEIT_SMALL)
    checkpoint = save(
        tmp_path / 'epoch_1.pth',
        {'type': 'DINO', 'backbone': DEIT_SMALL},
        backbone=student,
        teacher_backbone=teacher,
    )
    for backbone, options, prefix in (
        (teacher, (), 'teacher.backbone.'),
        (teacher, ('--network', 'teacher'), 'teacher.backbone.'),
        (student, ('--network', 'student'), 'backbone.'),
        (student, ('--prefix', 'backbone'), 'backbone.'),
    ):
        out = tmp_path / 'vit.pth'
        extract(checkpoint, out, '--force', *options)
        output = capsys.readouterr().out
        assert output.splitlines() == [
            'architecture: VisionTransformer, width 384, 12 layers, patch 16',
            f'from: {prefix}*',
            f'written: {out}, 150 tensors, names of timm',
            'left out: nothing',
            "model: timm.create_model('vit_small_patch16_224', num_classes=0)",
        ]
        model = timm.create_model('vit_small_patch16_224', num_classes=0)
        model.load_state_dict(torch.load(out, weights_only=True), strict=True)
        if len(options) != 2 or 'student' in options:
            assert_same_features(backbone, model, 3, 224, 224)
        else:
            expected = backbone.double().state_dict()['layers.3.attn.qkv.weight']
            assert_close(model.blocks[3].attn.qkv.weight.double(), expected)


@pytest.mark.parametrize(
    ('config', 'images', 'expression'),
    [
        (
            SMALL_VIT,
            (3, 32, 32),
            'timm.models.VisionTransformer(img_size=32, patch_size=8, embed_dim=32, depth=2, '
            'num_heads=4, mlp_ratio=2.5, num_classes=0)',
        ),
        ({**SMALL_VIT, 'img_size': (32, 64)}, (3, 32, 64), 'img_size=(32, 64)'),
        # 16 patches, but not 4 x 4.
        ({**SMALL_VIT, 'img_size': (16, 64)}, (3, 16, 64), 'img_size=(16, 64)'),
        ({**SMALL_VIT, 'qkv_bias': False}, (3, 32, 32), 'qkv_bias=False'),
        ({**SMALL_VIT, 'in_channels': 1}, (1, 32, 32), 'in_chans=1'),
        ({**SMALL_VIT, 'layer_scale_init_value': 0.1}, (3, 32, 32), 'init_values=1.0'),
        (
            {'type': 'VisionTransformer', 'arch': 'deit-tiny', 'img_size': 96, 'patch_size': 16},
            (3, 96, 96),
            "timm.create_model('vit_tiny_patch16_224', img_size=96, num_classes=0)",
        ),
        # The ViT-S of MoCo v3 has twice the heads, with the same weights.
        (
            {'type': 'MoCoV3ViT', 'arch': 'mocov3-small', 'img_size': 64, 'patch_size': 16},
            (3, 64, 64),
            "timm.create_model('vit_small_patch16_224', img_size=64, num_heads=12, num_classes=0)",
        ),
        (
            {**SMALL_VIT, 'norm_cfg': {'type': 'LN', 'eps': 1e-6}},
            (3, 32, 32),
            'num_heads=4, mlp_ratio=2.5, num_classes=0)',
        ),
    ],
    ids=['own', 'wide', 'flat', 'qkv', 'gray', 'scale', 'tiny', 'moco', 'eps'],
)
def test_printed_model_takes_the_weights(config, images, expression, tmp_path, capsys):
    backbone = build(config)
    checkpoint = save(tmp_path / '1.pth', {'type': 'X', 'backbone': config}, backbone=backbone)
    extract(checkpoint, tmp_path / 'out.pth')
    output = capsys.readouterr().out
    assert expression in output
    assert not note(output)
    model = printed_model(output)
    model.load_state_dict(torch.load(tmp_path / 'out.pth', weights_only=True), strict=True)
    assert_same_features(backbone, model, *images)


@pytest.mark.parametrize('config', [
    SMALL_VIT,
    {'type': 'VisionTransformer', 'arch': 'deit-tiny', 'img_size': 96, 'patch_size': 16},
])  # fmt: skip
def test_vit_has_the_features_of_torchvision(config, tmp_path, capsys):
    backbone = build(config)
    checkpoint = save(tmp_path / '1.pth', {'type': 'X', 'backbone': config}, backbone=backbone)
    extract(checkpoint, tmp_path / 'out.pth', '--style', 'torchvision')
    model = printed_model(capsys.readouterr().out)
    model.heads = nn.Identity()
    model.load_state_dict(torch.load(tmp_path / 'out.pth', weights_only=True), strict=True)
    assert_same_features(backbone, model, 3, config['img_size'], config['img_size'])


@pytest.mark.parametrize('style', ['timm', 'torchvision'])
@pytest.mark.parametrize('depth', [18, 50])
def test_resnet_for_small_images(style, depth, tmp_path, capsys):
    config = {'type': 'ResNet_CIFAR', 'depth': depth}
    backbone = build(config)
    checkpoint = save(tmp_path / '1.pth', {'type': 'X', 'backbone': config}, backbone=backbone)
    extract(checkpoint, tmp_path / 'out.pth', '--style', style)
    output = capsys.readouterr().out
    assert f'architecture: ResNet-{depth} for small images' in output
    model = printed_model(output)
    changes = [line.removeprefix('then: ') for line in output.splitlines() if 'then: ' in line]
    assert len(changes) == 2
    for change in changes:
        exec(change, {'model': model, 'torch': torch})
    model.fc = nn.Identity()
    model.load_state_dict(torch.load(tmp_path / 'out.pth', weights_only=True), strict=True)
    assert_same_features(backbone, model, 3, 32, 32)


def test_layer_norms_with_another_eps_are_reported(tmp_path, capsys):
    # As MMPretrain reads it: without a value the norms have 1e-5.
    config = {**SMALL_VIT, 'norm_cfg': {'type': 'LN'}}
    backbone = build(config)
    with torch.no_grad():
        # Dark images: tokens so small that eps matters.
        for name in ('cls_token', 'pos_embed'):
            getattr(backbone, name).mul_(1e-2)
    checkpoint = save(tmp_path / '1.pth', {'type': 'X', 'backbone': config}, backbone=backbone)
    extract(checkpoint, tmp_path / 'out.pth')
    output = capsys.readouterr().out
    (line,) = note(output)
    assert 'eps=1e-05, those of timm 1e-06: the features differ' in line
    model = printed_model(output)
    model.load_state_dict(torch.load(tmp_path / 'out.pth', weights_only=True), strict=True)
    with pytest.raises(AssertionError, match='not close'):
        assert_same_features(backbone, model, 3, 32, 32)
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-5
    assert_same_features(backbone, model, 3, 32, 32)


@pytest.mark.parametrize(
    ('setting', 'text'),
    [
        ({'style': 'caffe'}, "style='caffe', torchvision has 'pytorch'"),
        ({'strides': [1, 2, 2, 1]}, 'strides=[1, 2, 2, 1], torchvision has (1, 2, 2, 2)'),
        ({'norm_cfg': {'type': 'BN', 'eps': 0.001}}, 'eps=0.001, those of torchvision 1e-05'),
    ],
)
def test_settings_that_weights_do_not_show_are_reported(setting, text, tmp_path, capsys):
    config = {**RESNET50, 'depth': 18, 'norm_cfg': {'type': 'BN'}, **setting}
    algorithm = {'type': 'SimSiam', 'backbone': config}
    for model in (algorithm, {'type': 'HVSAlgorithm', 'algorithm': algorithm}):
        checkpoint = save(tmp_path / '1.pth', model, backbone=MODELS.build(config))
        extract(checkpoint, tmp_path / 'out.pth', '--force')
        (line,) = note(capsys.readouterr().out)
        assert text in line
        assert 'the features differ' in line


def test_unknown_number_of_heads_is_reported(tmp_path, capsys):
    arch = {**SMALL_ARCH, 'embed_dims': 128, 'num_heads': 2}
    extract(
        save(tmp_path / '1.pth', backbone=build({**SMALL_VIT, 'arch': arch})), tmp_path / 'out.pth'
    )
    output = capsys.readouterr().out
    assert note(output) == [
        'note: the checkpoint does not tell the number of heads; heads of 64 units are assumed.'
    ]
    assert 'num_heads=2' in output
    # Of a width that is no multiple of 64 nothing can be assumed.
    extract(save(tmp_path / '2.pth', backbone=build(SMALL_VIT)), tmp_path / 'out2.pth')
    assert 'model:' not in capsys.readouterr().out


@pytest.mark.parametrize('name', ['DINO', 'IBOT'])
def test_checkpoint_of_a_run(name, tmp_path, capsys):
    runner = tiny_dino.build_runner(
        tmp_path,
        tiny_dino.dino_config(name, num_crops=4 if name == 'DINO' else 2),
        num_views=(2, 2) if name == 'DINO' else (2,),
        num_batches=1,
        max_epochs=1,
        hooks=[{'type': 'TeacherHook', 'momentum': 0.1}],
        default_hooks={},
    )
    runner.train()
    extract(tmp_path / 'epoch_1.pth', tmp_path / 'out.pth')
    output = capsys.readouterr().out
    # 32 units and 2 heads: only the config in the checkpoint tells that.
    assert 'num_heads=2' in output
    token = 'mask_token (stands for masked patches in pretraining)'
    assert f'left out: {"nothing" if name == "DINO" else token}' in output
    model = printed_model(output)
    model.load_state_dict(torch.load(tmp_path / 'out.pth', weights_only=True), strict=True)
    teacher = MODELS.build(
        {
            'type': 'VisionTransformer',
            'arch': tiny_dino.ARCH,
            'img_size': tiny_dino.GLOBAL,
            'patch_size': tiny_dino.PATCH,
        }
    )
    state = runner.model.teacher['backbone'].state_dict()
    teacher.load_state_dict({k: v for k, v in state.items() if k != 'mask_token'})
    teacher.eval()
    assert_same_features(teacher, model, 3, 32, 32)


def test_mean_of_patch_tokens(tmp_path, capsys):
    config = {**SMALL_VIT, 'out_type': 'avg_featmap'}
    checkpoint = save(tmp_path / '1.pth', {'type': 'X', 'backbone': config}, backbone=build(config))
    extract(checkpoint, tmp_path / 'out.pth')
    output = capsys.readouterr().out
    assert "ln2.weight (normalizes MMPretrain's mean of patch tokens), ln2.bias" in output
    weights = torch.load(tmp_path / 'out.pth', weights_only=True)
    printed_model(output).load_state_dict(weights, strict=True)


@pytest.mark.parametrize(
    'config',
    [
        {**tiny_dino.RESNET, 'type': 'ResNet_CIFAR'},
        {'type': 'SwinTransformer', 'arch': 'tiny', 'img_size': 32},
        SMALL_VIT,
    ],
    ids=['cifar', 'swin', 'vit'],
)
def test_names_as_they_are(config, tmp_path, capsys):
    backbone = build(config)
    checkpoint = save(tmp_path / '1.pth', {'type': 'X', 'backbone': config}, backbone=backbone)
    out = tmp_path / 'out.pth'
    extract(checkpoint, out, '--style', 'mmpretrain')
    assert capsys.readouterr().out.splitlines()[0] == f'architecture: {config["type"]}'
    weights = torch.load(out, weights_only=True)
    own = backbone.state_dict()
    assert weights.keys() == own.keys()
    assert all(torch.equal(weights[key], own[key]) for key in own)
    # And a bare backbone comes in again.
    if config is SMALL_VIT:
        extract(out, tmp_path / 'timm.pth', '--prefix', '')
        assert 'from: the bare names' in capsys.readouterr().out


def test_slices_of_larger_tensors_are_not_saved_whole(tmp_path):
    state = build(SMALL_VIT).state_dict()
    large = torch.zeros(1000, *state['pos_embed'].shape[1:])
    state['pos_embed'] = large[:1]
    path = tmp_path / '1.pth'
    torch.save({f'backbone.{key}': value for key, value in state.items()}, path)
    extract(path, tmp_path / 'out.pth')
    assert (tmp_path / 'out.pth').stat().st_size < path.stat().st_size / 5


def test_counters_of_batches_may_be_missing():
    state = MODELS.build({**RESNET50, 'depth': 18}).state_dict()
    state = {k: v for k, v in state.items() if not k.endswith('num_batches_tracked')}
    weights = rename_backbone(state).weights
    missing, _ = torchvision.models.resnet18().load_state_dict(weights, strict=False)
    assert missing == ['fc.weight', 'fc.bias']


def test_command_line(tmp_path):
    checkpoint = save(tmp_path / '1.pth', backbone=build({**RESNET50, 'depth': 18}))
    process = run_tool('extract_backbone', checkpoint, 'out.pth', cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert 'written: out.pth, 120 tensors' in process.stdout


def test_existing_output_is_kept(tmp_path):
    checkpoint = save(tmp_path / '1.pth', backbone=build({**RESNET50, 'depth': 18}))
    out = tmp_path / 'out.pth'
    out.write_text('precious')
    with pytest.raises(SystemExit, match='exists: name another file, or add --force'):
        extract(checkpoint, out)
    assert out.read_text() == 'precious'
    extract(checkpoint, out, '--force')
    assert len(torch.load(out, weights_only=True)) == 120


def refused(tmp_path: Path, checkpoint: Any, *options: str) -> str:
    path = tmp_path / 'checkpoint.pth'
    if isinstance(checkpoint, bytes):
        path.write_bytes(checkpoint)
    else:
        torch.save(checkpoint, path)
    with pytest.raises(SystemExit) as info:
        extract(path, tmp_path / 'out.pth', *options)
    message = str(info.value)
    assert message.startswith('error: ')
    assert 'checkpoint.pth' in message
    assert '\n' not in message
    assert not (tmp_path / 'out.pth').exists()
    return message


def state_of(config: dict[str, Any]) -> dict[str, Tensor]:
    return {f'backbone.{k}': v for k, v in MODELS.build(config).state_dict().items()}


def test_no_checkpoint(tmp_path):
    with pytest.raises(SystemExit, match=r"error: checkpoint '.*none.pth' does not exist"):
        extract(tmp_path / 'none.pth', tmp_path / 'out.pth')
    assert 'no checkpoint that torch can read' in refused(tmp_path, b'not a checkpoint')
    assert 'no checkpoint that torch can read' in refused(tmp_path, b'')
    assert 'holds a list' in refused(tmp_path, [torch.zeros(1)])


@pytest.mark.parametrize('share', [0.02, 0.1, 0.5, 0.9, 0.999])
def test_truncated_checkpoint(share, tmp_path):
    content = save(tmp_path / 'whole.pth', backbone=build(SMALL_VIT)).read_bytes()
    refused(tmp_path, content[: int(share * len(content))])


def test_no_backbone(tmp_path):
    assert 'holds no backbone' in refused(tmp_path, {'state_dict': {'fc.weight': torch.zeros(1)}})
    assert 'is empty' in refused(tmp_path, {'state_dict': {}})
    simsiam = {'state_dict': state_of(SMALL_VIT)}
    message = refused(tmp_path, simsiam, '--network', 'teacher')
    assert "begins with 'teacher.backbone.'" in message
    assert 'published_to_hvs.py' in refused(tmp_path, {'student': {}, 'teacher': {}})


@pytest.mark.parametrize(
    ('config', 'text'),
    [
        ({'type': 'SwinTransformer', 'arch': 'tiny', 'img_size': 32}, 'architecture is unknown'),
        ({'type': 'ResNetV1c', 'depth': 50}, 'deep stem (stem.0.conv.weight)'),
        (
            {**tiny_dino.RESNET, 'type': 'ResNet_CIFAR', 'stem_channels': 32, 'base_channels': 32},
            'conv1.weight is (32, 3, 3, 3) instead of (64, 3, 3, 3)',
        ),
        (
            {**tiny_dino.RESNET, 'num_stages': 3, 'strides': (1, 2, 2), 'out_indices': (2,),
             'dilations': (1, 1, 1)},
            '2-2-2-0 blocks',
        ),
        ({**RESNET50, 'avg_down': True}, 'layer2.0.downsample.0.weight is missing'),
        ({'type': 'ResNeXt', 'depth': 50}, "is not torchvision's resnet50"),
        ({'type': 'SEResNet', 'depth': 50}, 'se_layer'),
        ({**RESNET50, 'norm_cfg': {'type': 'GN', 'num_groups': 2}}, 'running_mean is missing'),
        ({**SMALL_VIT, 'final_norm': False}, 'ln1.weight is missing'),
        ({**SMALL_VIT, 'pre_norm': True}, 'pre_norm.weight has no place'),
        ({**SMALL_VIT, 'with_cls_token': False, 'out_type': 'raw'}, 'cls_token is missing'),
    ],
)  # fmt: skip
def test_other_architectures(config, text, tmp_path):
    message = refused(tmp_path, {'state_dict': state_of(config)})
    assert text in message
    assert '--style mmpretrain' in message


def test_names_that_torchvision_does_not_have(tmp_path):
    for setting, text in (
        ({}, 'an unknown number of heads'),
        ({'layer_scale_init_value': 0.1}, 'a layer scale'),
        ({'qkv_bias': False}, 'attention without biases'),
    ):
        # Only the width of the last ones gives away the number of heads.
        arch = {**SMALL_ARCH, 'embed_dims': 64, 'num_heads': 1} if setting else SMALL_ARCH
        state = state_of({**SMALL_VIT, 'arch': arch, **setting})
        message = refused(tmp_path, {'state_dict': state}, '--style', 'torchvision')
        assert f'torchvision has no ViT with {text}' in message
        assert 'Use --style timm' in message
    with pytest.raises(ValueError, match=r"style='keras' is unknown, expected one of torchvision"):
        rename_backbone({}, 'keras')


def test_objects_that_may_run_code_are_refused(tmp_path):
    checkpoint = {'state_dict': state_of(SMALL_VIT), 'args': Unknown()}
    assert '--trust' in refused(tmp_path, checkpoint)
    extract(tmp_path / 'checkpoint.pth', tmp_path / 'out.pth', '--trust')
    assert (tmp_path / 'out.pth').exists()


def test_a_config_that_cannot_be_read_is_no_obstacle(tmp_path, capsys):
    checkpoint = {'state_dict': state_of(DEIT_SMALL), 'meta': {'cfg': 'model = dict('}}
    torch.save(checkpoint, tmp_path / '1.pth')
    extract(tmp_path / '1.pth', tmp_path / 'out.pth')
    assert "'vit_small_patch16_224', num_classes=0)" in capsys.readouterr().out


def test_two_ways_to_name_the_network(tmp_path, capsys):
    with pytest.raises(SystemExit):
        extract('1.pth', 'out.pth', '--network', 'teacher', '--prefix', 'backbone.')
    assert 'not allowed with argument' in capsys.readouterr().err
