"""``tools/test.py``: a trained model on its test set."""

from __future__ import annotations

import json
import pickle
import uuid
from pathlib import Path

import cv2
import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS

from tests.helpers.tiny_classifier import classifier_config, randomize, write_folders
from tests.helpers.tools import load_tool

ROOT = Path(__file__).parents[2]


def evaluate(*arguments):
    load_tool('test').main([str(argument) for argument in arguments])


@pytest.fixture
def model():
    return randomize(MODELS.build(classifier_config(Path()).model))


@pytest.fixture
def trained(tmp_path, model):
    """A config and the checkpoint of a model that was trained with it, and where to write."""
    cfg = classifier_config(write_folders(tmp_path / 'data'), experiment_name=uuid.uuid4().hex)
    cfg.default_hooks.visualization = dict(type='VisualizationHook')
    cfg.visualizer = dict(type='UniversalVisualizer')
    cfg.dump(tmp_path / 'classifier.py')
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, tmp_path / 'trained.pth')
    return tmp_path / 'classifier.py', tmp_path / 'trained.pth', '--work-dir', tmp_path / 'run'


def test_accuracy_and_predictions(trained, tmp_path, model):
    evaluate(*trained, '--out', tmp_path / 'metrics.json', '--out-item', 'metrics')
    found = json.loads((tmp_path / 'metrics.json').read_text())
    model.eval()
    samples = []
    for label, name in enumerate(('cat', 'dog')):
        for path in sorted((tmp_path / 'data' / 'val' / name).iterdir()):
            # (H, W, 3) in the order of OpenCV, as upstream reads it -> (1, 3, H, W)
            image = torch.from_numpy(cv2.imread(str(path))).permute(2, 0, 1)[None]
            scores = model((image.float() - 127.5) / 60)
            samples.append((label, int(scores.argmax())))
    right = sum(label == guess for label, guess in samples)
    assert found['accuracy/top1'] == pytest.approx(100 * right / len(samples))
    assert len(samples) == 8

    evaluate(*trained, '--out', tmp_path / 'all.pkl', '--cfg-options', 'experiment_name=all')
    rows = pickle.loads((tmp_path / 'all.pkl').read_bytes())
    assert [(int(r['gt_label']), int(r['pred_label'])) for r in rows] == samples


def test_pictures(trained, tmp_path):
    evaluate(*trained, '--show-dir', tmp_path / 'pictures', '--interval', 2, '--amp')
    # Upstream names them by the file alone, so those of two classes share names.
    names = {path.name for path in (tmp_path / 'pictures').iterdir()}
    assert names == {'0.png_0.png', '2.png_0.png'}


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--tta'], '--tta: the config has no tta_model'),
        (['--out', 'all.json'], '--out all.json: predictions are written to a .pkl file'),
        (['--out-item', 'metrics'], '--out-item metrics needs --out FILE'),
        (['--cfg-options', 'model.head.num_class=3'], "did you mean 'num_classes'"),
        (
            ['--cfg-options', 'test_dataloader.dataset.data_root=nowhere'],
            "test_dataloader.dataset: 'nowhere' does not exist",
        ),
        (
            ['--cfg-options', 'model.backbone.depth=34'],
            'is of another model (type unknown) than the config: it lacks',
        ),
    ],
)
def test_errors_are_one_line_and_leave_nothing_behind(trained, tmp_path, arguments, message):
    with pytest.raises(SystemExit) as info:
        evaluate(*trained, *arguments)
    line = str(info.value)
    assert line.startswith('error: ')
    assert message in line
    assert '\n' not in line
    assert not (tmp_path / 'run').exists()


def test_files_that_are_not_there(trained, tmp_path):
    config, checkpoint, *rest = trained
    with pytest.raises(SystemExit, match=r"config 'none\.py' does not exist"):
        evaluate('none.py', checkpoint, *rest)
    with pytest.raises(SystemExit, match=r'none\.pth: there is no such checkpoint'):
        evaluate(config, 'none.pth', *rest)
    assert not (tmp_path / 'run').exists()


def test_a_config_that_only_trains(trained):
    config = ROOT / 'configs' / 'hvs_simsiam_100e.py'
    with pytest.raises(SystemExit, match=r'has no test_dataloader: it does not say on what'):
        evaluate(config, trained[1], '--amp')


def test_augmentation_at_test_time(trained):
    config, checkpoint, *rest = trained
    cfg = Config.fromfile(config)
    flips = [[dict(type='RandomFlip', prob=1.0)], [dict(type='RandomFlip', prob=0.0)]]
    cfg.tta_model = dict(type='AverageClsScoreTTA')
    cfg.tta_pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='TestTimeAug', transforms=[flips[0] + flips[1], [dict(type='PackInputs')]]),
    ]
    cfg.dump(config)
    evaluate(config, checkpoint, *rest, '--tta')
