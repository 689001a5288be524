"""``tools/eval_knn.py`` as a user runs it, though mostly in this process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import DATASETS, MODELS
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier

from tests.helpers.tools import ROOT, load_tool, run_tool

SIMSIAM = 'configs/demo/hvs_simsiam.py'
DINO = 'configs/demo/hvs_dino.py'
#: Images in bank and queries.
SIZES = (60, 200)
SMALL = f'train_dataloader.dataset.num_samples={SIZES[0]}'
#: Of one of the queries, whose similarities float32 may round differently.
ROUNDING = 100 / SIZES[1] + 1e-6
HOOK = """
_base_ = {base!r}
default_hooks = dict(knn=dict(
    type='KNNHook', queries=dict(type='ShapesDataset', split='val', num_samples={number})))
"""


@pytest.fixture
def tool(monkeypatch):
    """The tool as a function; on the CPU."""
    monkeypatch.chdir(ROOT)

    def run(*arguments):
        options = ['--device', 'cpu', '--num-workers', '0']
        load_tool('eval_knn').main([*map(str, arguments), *options])

    return run


@pytest.fixture
def small(tmp_path):
    """Gives a config of the demo whose evaluation reads few images."""

    def write(config):
        path = tmp_path / f'small_{Path(config).name}'
        path.write_text(HOOK.format(base=str(ROOT / config), number=SIZES[1]))
        return path

    return write


@pytest.fixture
def fails(tool, capsys):
    """Runs the tool, and returns the one line with which it gives up."""

    def run(*arguments):
        with pytest.raises(SystemExit) as error:
            tool(*arguments)
        message = error.value.code
        assert message.startswith('error: ')
        assert '\n' not in message
        assert capsys.readouterr().out == ''
        return message

    return run


def build(config):
    cfg = Config.fromfile(ROOT / config)
    torch.manual_seed(1)
    model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
        if not hasattr(model, 'teacher'):
            # Statistics that are not those a network starts with.
            model.train().backbone(torch.randn(16, 3, 32, 32))
    return model.eval(), cfg


def save(model, path, **meta):
    # What makes the folder a work dir, into which results go.
    (path.parent / 'last_checkpoint').write_text(str(path))
    torch.save({'state_dict': model.state_dict(), 'meta': {'epoch': 7, 'iter': 70, **meta}}, path)
    return path


@torch.no_grad()
def scikit_learn(backbone, cfg, k, temperature=0.07):
    """Top-1 accuracy in percent, without anything of the evaluation."""
    features, labels = [], []
    mean, std = cfg.data_preprocessor['mean'], cfg.data_preprocessor['std']
    for split, number in zip(('train', 'val'), SIZES):
        dataset = DATASETS.build(
            dict(type='ShapesDataset', split=split, num_samples=number, pipeline=cfg.knn_pipeline)
        )
        images = torch.stack([sample['inputs'] for sample in dataset]).float()
        assert cfg.data_preprocessor['to_rgb']
        images = images[:, [2, 1, 0]] - torch.tensor(mean)[:, None, None]
        output = backbone(images / torch.tensor(std)[:, None, None])[-1]
        features.append((output.mean((2, 3)) if output.ndim == 4 else output).double().numpy())
        labels.append(dataset.get_gt_labels())
    classifier = KNeighborsClassifier(
        k, metric='cosine', weights=lambda distance: np.exp((1 - distance) / temperature)
    )
    return 100 * classifier.fit(features[0], labels[0]).score(features[1], labels[1])


def some_folders(root):
    rng = np.random.default_rng(0)
    for split, number in (('train', 4), ('val', 2)):
        for name in ('cat', 'dog'):
            (root / split / name).mkdir(parents=True)
            for i in range(number):
                pixels = rng.integers(256, size=(40, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f'{i}.png')
    return root


# --- Results ---------------------------------------------------------------------------------


def test_a_checkpoint(tool, small, tmp_path, capsys):
    model, cfg = build(SIMSIAM)
    path = save(model, tmp_path / 'epoch_7.pth')
    tool(small(SIMSIAM), path, '--k', 20, 5, '--cfg-options', SMALL)
    result = json.loads((tmp_path / 'knn_epoch_7.json').read_text())
    accuracies = result.pop('k')
    assert result == {
        'checkpoint': str(path),
        'epoch': 7,
        'network': 'backbone',
        'temperature': 0.07,
        'num_bank': 60,
        'num_queries': 200,
    }
    assert list(accuracies) == ['5', '20']
    output = capsys.readouterr().out
    assert f'{path}: 60 images in the bank, 200 queries' in output
    for k, accuracy in accuracies.items():
        assert accuracy['top1'] == pytest.approx(
            scikit_learn(model.backbone, cfg, int(k)), abs=ROUNDING
        )
        assert accuracy['top1'] <= accuracy['top5'] <= 100
        assert f'│ {accuracy["top1"]:7.2f} │ {accuracy["top5"]:7.2f} │' in output
    assert f'result: {tmp_path / "knn_epoch_7.json"}' in output


def test_teacher_and_student(tool, small, tmp_path):
    model, cfg = build(DINO)
    path = save(model, tmp_path / 'last.pth', epoch=None)
    options = ('--k', 10, '--temperature', 0.2, '--cfg-options', SMALL)
    tool(small(DINO), path, *options)
    tool(small(DINO), path, '--network', 'student', *options)
    networks = {'knn_last.json': 'teacher', 'knn_last_student.json': 'student'}
    backbones = {'teacher': model.teacher['backbone'], 'student': model.backbone}
    for name, network in networks.items():
        result = json.loads((tmp_path / name).read_text())
        assert (result['network'], result['temperature']) == (network, 0.2)
        assert result['epoch'] is None
        expected = scikit_learn(backbones[network], cfg, 10, 0.2)
        assert result['k']['10']['top1'] == pytest.approx(expected, abs=ROUNDING)


def test_a_backbone_alone(tool, small, tmp_path):
    model, _ = build(DINO)
    state = {f'backbone.{name}': v for name, v in model.backbone.state_dict().items()}
    path = tmp_path / 'backbone.pth'
    torch.save(state, path)
    out = tmp_path / 'new/out.json'
    tool(small(DINO), path, '--k', 10, '--json', out, '--cfg-options', SMALL)
    result = json.loads(out.read_text())
    assert (result['network'], result['epoch']) == ('backbone', None)
    assert list(tmp_path.glob('*.json')) == []


def test_settings_of_the_hook_and_of_the_command_line(tool, tmp_path):
    root = some_folders(tmp_path / 'images')
    path = save(build(SIMSIAM)[0], tmp_path / 'epoch_1.pth')
    config = tmp_path / 'config.py'
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
    config.write_text(
        f'_base_ = {str(ROOT / SIMSIAM)!r}\n'
        f"default_hooks = dict(knn=dict(type='KNNHook', k=[3], bank={str(root / 'train')!r},\n"
        f'    queries={str(root / "val")!r}, temperature=0.3))\n'
        f'knn_pipeline = {pipeline!r}\n'
    )
    tool(config, path)
    result = json.loads((tmp_path / 'knn_epoch_1.json').read_text())
    assert list(result['k']) == ['3']
    assert (result['num_bank'], result['num_queries'], result['temperature']) == (8, 4, 0.3)
    tool(config, path, '--k', 2, '--bank', root / 'val', '--queries', root / 'train')
    result = json.loads((tmp_path / 'knn_epoch_1.json').read_text())
    assert list(result['k']) == ['2']
    assert (result['num_bank'], result['num_queries'], result['temperature']) == (4, 8, 0.3)


@pytest.mark.slow
def test_two_processes(tool, small, tmp_path):
    path = save(build(SIMSIAM)[0], tmp_path / 'epoch_7.pth')
    # 61 images do not divide.
    arguments = ['--k', '1', '20', '--cfg-options', 'train_dataloader.dataset.num_samples=61']
    out = tmp_path / 'two.json'
    process = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2',
         '--master_port=29563', 'tools/eval_knn.py', small(SIMSIAM), path, '--json', out,
         *arguments],
        cwd=ROOT,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': '-1'},
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert process.stdout.count('result: ') == 1
    tool(small(SIMSIAM), path, *arguments)
    two = json.loads(out.read_text())
    one = json.loads((tmp_path / 'knn_epoch_7.json').read_text())
    assert (two['num_bank'], two['num_queries']) == (61, 200)
    for k in ('1', '20'):
        assert two['k'][k] == pytest.approx(one['k'][k], abs=ROUNDING)


# --- Bad input -------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path):
    return save(build(SIMSIAM)[0], tmp_path / 'epoch_7.pth')


def test_the_command():
    process = run_tool('eval_knn', 'none.py', 'none.pth')
    assert process.returncode == 1
    assert process.stderr.strip().splitlines()[-1] == "error: config 'none.py' does not exist."


def test_missing_files(fails, checkpoint):
    assert "config 'none.py' does not exist" in fails('none.py', checkpoint)
    assert "checkpoint 'none.pth' does not exist" in fails(SIMSIAM, 'none.pth')


def test_a_checkpoint_without_a_backbone(fails, tmp_path):
    path = tmp_path / 'other.pth'
    torch.save({'state_dict': {'neck.weight': torch.zeros(3)}}, path)
    message = fails(SIMSIAM, path)
    assert 'holds no backbone' in message
    assert "'neck.' (1)" in message


def test_a_file_that_is_no_checkpoint(fails, checkpoint, tmp_path):
    text = tmp_path / 'text.pth'
    text.write_text('not a checkpoint')
    assert f'{text} is no checkpoint' in fails(SIMSIAM, text)
    truncated = tmp_path / 'truncated.pth'
    truncated.write_bytes(checkpoint.read_bytes()[:2000])
    assert f'{truncated} is no checkpoint' in fails(SIMSIAM, truncated)
    other = tmp_path / 'list.pth'
    torch.save([1, 2], other)
    assert 'holds a list' in fails(SIMSIAM, other)


def test_another_architecture(fails, checkpoint, tmp_path):
    # None of its tensors, other shapes, and some that are missing.
    assert 'another architecture' in fails(DINO, checkpoint)
    option = 'model.algorithm.backbone.base_channels=8'
    assert 'layer1.0.conv1.weight: (16, ' in fails(SIMSIAM, checkpoint, '--cfg-options', option)
    state = torch.load(checkpoint)['state_dict']
    del state['backbone.layer2.0.conv1.weight']
    path = tmp_path / 'part.pth'
    torch.save(state, path)
    message = fails(SIMSIAM, path)
    assert 'not in the checkpoint: layer2.0.conv1.weight' in message
    assert 'of another architecture than this ResNet_CIFAR' in message


def test_networks_that_are_not_there(fails, checkpoint, tmp_path):
    message = fails(SIMSIAM, checkpoint, '--network', 'teacher')
    assert "network='teacher': SimSiam has 'backbone'" in message
    model, _ = build(DINO)
    state = {f'backbone.{name}': v for name, v in model.backbone.state_dict().items()}
    path = tmp_path / 'backbone.pth'
    torch.save(state, path)
    message = fails(DINO, path, '--network', 'teacher')
    assert "begins with 'teacher.backbone.'" in message


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--k', 61], 'k=61 neighbors, but the bank has only 60 images'),
        (['--k', 0], 'every number of neighbors must be at least 1'),
        (['--temperature', 0], 'temperature=0.0 must be positive'),
        (['--batch-size', 0], 'batch_size=0 must be an integer of at least 1'),
        (
            ['--bank', '/nowhere', '--queries', '/'],
            "bank: CustomDataset(data_root='/nowhere') cannot be read",
        ),
        (['--queries', '/nowhere'], "queries: CustomDataset(data_root='/nowhere') cannot be read"),
    ],
)
def test_wrong_settings(fails, checkpoint, arguments, message):
    assert message in fails(SIMSIAM, checkpoint, *arguments, '--cfg-options', SMALL)


def test_an_option_that_does_not_exist(fails, checkpoint):
    message = fails(SIMSIAM, checkpoint, '--cfg-options', 'train_dataloader.dataset.num_sample=3')
    assert "has no key 'num_sample'; did you mean" in message


def test_different_class_folders(fails, checkpoint, tmp_path):
    root = some_folders(tmp_path / 'images')
    (root / 'val/dog').rename(root / 'val/wolf')
    message = fails(
        SIMSIAM, checkpoint, '--k', 2, '--bank', root / 'train', '--queries', root / 'val'
    )
    assert "only in the bank ['dog'], only in the queries ['wolf']" in message


def test_data_that_are_not_there(fails, tmp_path, checkpoint):
    config = tmp_path / 'config.py'
    config.write_text(
        f'_base_ = {str(ROOT / SIMSIAM)!r}\n'
        "train_dataloader = dict(dataset=dict(_delete_=True, type='ImageNet', split='train',\n"
        "    data_root='data/nowhere', pipeline=[]))\n"
    )
    message = fails(config, checkpoint)
    assert "bank: ImageNet(data_root='data/nowhere', split='train') cannot be read" in message


def test_a_device_that_does_not_exist(checkpoint, monkeypatch):
    monkeypatch.chdir(ROOT)
    for device in ('cuda:99', 'gpu'):
        with pytest.raises(SystemExit) as error:
            load_tool('eval_knn').main([SIMSIAM, str(checkpoint), '--device', device])
        assert error.value.code.startswith(f'error: --device {device}: there is no such device')
