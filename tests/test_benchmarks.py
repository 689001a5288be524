"""The configs of linear evaluation and fine-tuning have their published settings, and train."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import uuid
from pathlib import Path
from typing import Any

import mat4py
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmpretrain.datasets import CIFAR10
from mmpretrain.datasets.categories import FOOD101_CATEGORIES
from mmpretrain.registry import DATASETS, MODELS

from hvs_mm.engine import preflight
from tests.helpers.tiny_classifier import save_backbone, write_folders, write_image
from tests.helpers.tiny_dino import ARCH

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / 'configs' / 'benchmarks').glob('*.py'))
#: More than five, for the top-5 accuracy.
CLASSES = ('ant', 'bee', 'cat', 'dog', 'elk', 'fox')


def test_every_benchmark_has_both_backbones():
    names = {path.stem for path in CONFIGS}
    data = ('cifar10', 'cifar100', 'flowers102', 'food101', 'inat18')
    finetuning = {f'finetune_{name}{kind}' for name in data for kind in ('', '_vit-small')}
    assert names == finetuning | {'linear_resnet50', 'linear_vit-small'}


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_what_a_config_says(path):
    cfg = Config.fromfile(path)
    batch_size = cfg.train_dataloader.batch_size
    total = cfg.auto_scale_lr.base_batch_size
    assert total == 8 * batch_size
    header = path.read_text().split('_base_')[0]
    assert f'batch {total} (8 x {batch_size})' in ' '.join(header.replace('#', '').split())

    model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    init = {'type': 'PretrainedBackbone', 'checkpoint': None}
    assert cfg.model.backbone.init_cfg == model.backbone.init_cfg == init
    assert cfg.data_preprocessor.num_classes == model.head.num_classes
    # All of them normalize images as in pretraining on ImageNet.
    assert model.data_preprocessor.mean.flatten().tolist() == pytest.approx(
        [123.675, 116.28, 103.53]
    )
    assert cfg.default_hooks.finite_step == {'type': 'FiniteStepHook'}
    assert cfg.val_dataloader.dataset == cfg.test_dataloader.dataset
    assert cfg.val_dataloader.dataset != cfg.train_dataloader.dataset
    frozen = not any(p.requires_grad for p in model.backbone.parameters())
    assert frozen == path.stem.startswith('linear')
    parameters = sum(p.numel() for p in model.backbone.parameters())
    assert round(parameters / 1e6, 1) == (21.7 if 'vit' in path.stem else 23.5)


# Small data in the layout of each data set


def write_inat(root: Path) -> None:
    """The annotations of the competition, and the lists that the documentation makes of them."""
    for split in ('train2018', 'val2018'):
        images = [
            {'id': 100 + n, 'file_name': f'train_val2018/Aves/{n % 6}/{n}.png'} for n in range(8)
        ]
        labels = [{'id': n, 'image_id': 100 + n, 'category_id': n % 6} for n in range(8)]
        for image, label in zip(images, labels):
            write_image(root / image['file_name'], label['category_id'])
        (root / f'{split}.json').write_text(
            json.dumps({'images': images[::-1], 'annotations': labels, 'categories': []})
        )
    docs = (ROOT / 'docs' / 'benchmarks.md').read_text()
    (script,) = re.findall(r"python - <<'END'\n.*?END\n", docs, re.DOTALL)
    subprocess.run(['bash', '-ec', script], cwd=root, check=True)


def write_food(root: Path) -> None:
    names = [f'{name}/{n}' for n, name in enumerate(FOOD101_CATEGORIES[:8])]
    (root / 'meta').mkdir(parents=True)
    for split in ('train', 'test'):
        (root / 'meta' / f'{split}.txt').write_text('\n'.join(names))
    for n, name in enumerate(names):
        write_image(root / 'images' / f'{name}.jpg', n)


def write_flowers(root: Path) -> None:
    for n in range(1, 17):
        write_image(root / 'jpg' / f'image_{n:05}.jpg', n)
    mat4py.savemat(str(root / 'imagelabels.mat'), {'labels': [1 + n % 102 for n in range(16)]})
    ids = {'trnid': [1, 2, 3, 4], 'valid': [5, 6, 7, 8], 'tstid': list(range(9, 17))}
    mat4py.savemat(str(root / 'setid.mat'), ids)


def write_cifar(root: Path, name: str) -> None:
    kind = DATASETS.get(name)
    folder = root / kind.base_folder
    folder.mkdir(parents=True)
    for file, _ in kind.train_list + kind.test_list:
        count = max(2, 8 // len(kind.train_list))
        pixels = np.random.default_rng(0).integers(0, 256, (count, 3072), dtype=np.uint8)
        # A red image: all values of red come first, then those of green and blue.
        pixels[0] = np.repeat([250, 10, 10], 1024)
        labels = 'labels' if name == 'CIFAR10' else 'fine_labels'
        entry = {'data': pixels, labels: list(range(count))}
        (folder / file).write_bytes(pickle.dumps(entry))


def write_data(root: Path, name: str) -> None:
    """Write the data set that a config names in its own name."""
    if name.startswith('cifar'):
        write_cifar(root, name.upper())
    else:
        writers = {'inat18': write_inat, 'food101': write_food, 'flowers102': write_flowers}
        writers[name](root)


@pytest.fixture(autouse=True)
def _fast_records(monkeypatch):
    # A run formats its config several times, which takes longer than training here.
    def text(cfg: Config) -> str:
        return '\n'.join(f'{key} = {value!r}' for key, value in cfg.to_dict().items())

    monkeypatch.setattr(Config, 'pretty_text', property(text))


@pytest.fixture(autouse=True)
def _any_cifar(monkeypatch):
    # The real files are known by their checksums.
    monkeypatch.setattr(CIFAR10, '_check_integrity', lambda self: True)


def shrink(cfg: Config) -> None:
    """Make networks and images small, in place."""
    if cfg.model.backbone.type == 'ResNet':
        cfg.model.backbone.update(stem_channels=8, base_channels=8)
        cfg.model.head.in_channels = 256
    else:
        arch = {**ARCH, 'num_layers': 5}
        cfg.model.backbone.update(arch=arch, img_size=32, patch_size=8)
        cfg.model.head.in_channels = 32 * cfg.model.backbone.get('last_layers', 1)
    sizes = {'RandomResizedCrop': ('scale', 32), 'ResizeEdge': ('scale', 36)}
    sizes['CenterCrop'] = ('crop_size', 32)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(batch_size=4, num_workers=0)
        for step in loader.dataset.pipeline:
            if step.type in sizes:
                key, size = sizes[step.type]
                step[key] = size


def tiny(path: Path, folder: Path) -> Config:
    """A config with small data, which starts from a checkpoint that fits."""
    cfg = Config.fromfile(path)
    shrink(cfg)
    root = folder / 'data'
    name = path.stem.split('_')[1]
    if path.stem.startswith('linear'):
        write_folders(root, CLASSES, images=2)
        cfg.model.head.num_classes = len(CLASSES)
    else:
        write_data(root, name)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.data_root = str(root)
        if path.stem.startswith('linear'):
            loader.dataset.classes = CLASSES
    # Not more random than that: features of a frozen ResNet-50 would overflow.
    backbone = MODELS.build({**cfg.model.backbone, 'init_cfg': None})
    prefix = 'teacher.backbone.' if 'vit' in path.stem else 'backbone.'
    checkpoint = save_backbone(folder / 'pretrained.pth', backbone, prefix)
    cfg.model.backbone.init_cfg.checkpoint = checkpoint
    # Beyond the epoch in which the schedule of the transformer begins to fall.
    cfg.train_cfg.update(max_epochs=6, val_interval=6)
    cfg.work_dir = str(folder / 'run')
    cfg.experiment_name = uuid.uuid4().hex
    cfg.default_hooks.logger.interval = 1
    return cfg


def weights(module: torch.nn.Module) -> dict[str, Any]:
    return {key: value.clone() for key, value in module.state_dict().items()}


@pytest.mark.slow
@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_it_trains(path, tmp_path):
    cfg = tiny(path, tmp_path)
    preflight(cfg)
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.iter >= 2 * 6
    assert 0 <= runner.message_hub.get_scalar('val/accuracy/top1').current() <= 100
    (log,) = tmp_path.glob('run/*/*.log')
    line = re.search(r'backbone: (\d+) of (\d+) tensors loaded', log.read_text())
    assert line[1] == line[2]

    saved = torch.load(tmp_path / 'pretrained.pth')['state_dict']
    start = {k.split('backbone.')[1]: v for k, v in saved.items() if 'backbone.' in k}
    changed = {k for k, v in weights(runner.model.backbone).items() if not torch.equal(v, start[k])}
    if path.stem.startswith('linear'):
        assert not changed
    else:
        assert len(changed) > 0.9 * len(start)
    # A bias starts at zero, and left it.
    (bias,) = [p for p in runner.model.head.parameters() if p.ndim == 1]
    assert bias.abs().max() > 0


def test_it_refuses_to_start_without_a_checkpoint(tmp_path):
    cfg = tiny(ROOT / 'configs' / 'benchmarks' / 'linear_vit-small.py', tmp_path)
    cfg.model.backbone.init_cfg.checkpoint = None
    with pytest.raises(ValueError, match='starts from a pretrained backbone'):
        Runner.from_cfg(cfg).train()
    assert not list(tmp_path.glob('run/*.pth'))


@pytest.mark.parametrize('kind', ['', '_vit-small'])
def test_colors_of_cifar(kind, tmp_path):
    cfg = tiny(ROOT / 'configs' / 'benchmarks' / f'finetune_cifar10{kind}.py', tmp_path)
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    item = dataset[0]
    batch = {'inputs': item['inputs'][None], 'data_samples': [item['data_samples']]}
    (pixels,) = model.data_preprocessor(batch)['inputs']
    expected = [(250 - 123.675) / 58.395, (10 - 116.28) / 57.12, (10 - 103.53) / 57.375]
    assert pixels.mean((1, 2)).tolist() == pytest.approx(expected, abs=0.02)


def test_schedule_of_the_transformer(tmp_path):
    """iBOT's run.sh: 7.5e-6 per 512 images at batch 768, for iNaturalist 5e-5; first 1e-6."""
    for name, rate in (('cifar10', 7.5e-6 * 1.5), ('inat18', 5e-5 * 1.5)):
        cfg = Config.fromfile(ROOT / 'configs' / 'benchmarks' / f'finetune_{name}_vit-small.py')
        assert cfg.optim_wrapper.optimizer.lr == pytest.approx(rate)
        warmup, _ = cfg.param_scheduler
        assert rate * warmup.start_factor == pytest.approx(1e-6)


@pytest.mark.slow
def test_linear_evaluation_of_the_demo(tmp_path):
    pretraining = MODELS.build(Config.fromfile(ROOT / 'configs/demo/hvs_simsiam.py').model)
    start = {k: v.clone() for k, v in pretraining.state_dict().items() if k.startswith('backbone.')}
    torch.save(dict(state_dict=start), tmp_path / 'pretrained.pth')
    cfg = Config.fromfile(ROOT / 'configs/demo/linear.py')
    cfg.work_dir = str(tmp_path / 'run')
    cfg.model.backbone.init_cfg.checkpoint = str(tmp_path / 'pretrained.pth')
    cfg.merge_from_dict(
        {
            'train_dataloader.dataset.num_samples': 128,
            'train_dataloader.num_workers': 0,
            'val_dataloader.dataset.num_samples': 64,
            'val_dataloader.num_workers': 0,
            'train_cfg': dict(max_epochs=2, val_interval=2),
        }
    )
    preflight(cfg)
    runner = Runner.from_cfg(cfg)
    runner.train()
    (log,) = tmp_path.glob('run/*/*.log')
    assert 'backbone: 96 of 96 tensors loaded' in log.read_text()
    assert 'val/accuracy/top1' in runner.message_hub.log_scalars
    trained = runner.model.backbone.state_dict()
    assert all(torch.equal(trained[k.removeprefix('backbone.')], v) for k, v in start.items())
    assert runner.model.head.fc.bias.abs().max() > 0
