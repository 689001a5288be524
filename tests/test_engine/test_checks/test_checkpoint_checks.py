"""Which checkpoints a run starts from, resumes from or tests."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS

from hvs_mm.engine import preflight, preflight_test
from tests.helpers.tiny import algorithm_config, build_algorithm, build_hvs
from tests.helpers.tiny_classifier import VIT, build_backbone, classifier_config, save_backbone
from tests.helpers.tiny_dino import RESNET
from tests.test_engine.test_checks.test_preflight import config, dino_config


def save(path, model, model_config=None):
    meta = {'cfg': Config(dict(model=model_config)).pretty_text} if model_config else {}
    torch.save({'state_dict': model.state_dict(), 'meta': meta}, path)
    return str(path)


def test_resume_from_ones_own_and_from_the_baselines_checkpoint(tmp_path):
    for model in (build_hvs('SimSiam'), build_algorithm('SimSiam')):
        path = save(tmp_path / 'checkpoint.pth', model)
        preflight(config(resume=True, load_from=path))


def test_resume_from_another_algorithm(tmp_path):
    path = save(tmp_path / 'simclr.pth', build_algorithm('SimCLR'), algorithm_config('SimCLR'))
    message = r'of another model \(SimCLR, this is HVSAlgorithm of SimSiam\); \d+ of \d+ tensors'
    with pytest.raises(ValueError, match=message):
        preflight(config(resume=True, load_from=path))
    # Its weights alone are a legitimate start.
    preflight(config(resume=False, load_from=path))


def test_resume_from_another_backbone(tmp_path):
    path = save(tmp_path / 'wider.pth', build_algorithm('SimSiam', stem_channels=16))
    with pytest.raises(ValueError, match=r'type unknown.*backbone\.bn1\.bias'):
        preflight(config(resume=True, load_from=path))


def test_resume_from_the_latest_of_the_work_dir(tmp_path):
    path = save(tmp_path / 'epoch_1.pth', build_algorithm('SimCLR'))
    (tmp_path / 'last_checkpoint').write_text(path)
    cfg = config(resume=True)
    cfg.work_dir = str(tmp_path)
    with pytest.raises(ValueError, match=r'epoch_1\.pth'):
        preflight(cfg)


def test_resume_finds_the_checkpoint_of_another_run(tmp_path):
    cfg = config(resume=True)
    model = build_hvs('SimSiam')
    cfg.default_hooks = dict(checkpoint=dict(type='CheckpointHook', out_dir=str(tmp_path / 'out')))
    cfg.work_dir = str(tmp_path / 'seed1' / 'run')
    (tmp_path / 'out' / 'run').mkdir(parents=True)
    settings = Config({**cfg.to_dict(), 'work_dir': str(tmp_path / 'seed0' / 'run')})
    path = tmp_path / 'out' / 'run' / 'epoch_1.pth'
    torch.save({'state_dict': model.state_dict(), 'meta': {'cfg': settings.pretty_text}}, path)
    with pytest.raises(ValueError, match=rf'{path} is of work_dir={tmp_path}/seed0/run: .*out_dir'):
        preflight(cfg)
    # Its own, after the work dir was moved.
    (tmp_path / 'seed1' / 'run').mkdir(parents=True)
    (tmp_path / 'seed1' / 'run' / 'last_checkpoint').write_text(str(path))
    preflight(cfg)


def test_resume_from_a_missing_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match='no such checkpoint'):
        preflight(config(resume=True, load_from=str(tmp_path / 'none.pth')))


def test_resume_from_something_else(tmp_path):
    path = tmp_path / 'text.pth'
    path.write_text('no checkpoint')
    with pytest.raises(ValueError, match=r'text\.pth is no checkpoint'):
        preflight(config(resume=True, load_from=str(path)))


def test_resume_from_a_checkpoint_of_the_old_format(tmp_path):
    path = tmp_path / 'old.pth'
    state = {'state_dict': build_hvs('SimSiam').state_dict(), 'meta': {}}
    torch.save(state, path, _use_new_zipfile_serialization=False)
    preflight(config(resume=True, load_from=str(path)))


def test_weights_to_start_from_are_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'load_from=.*no such checkpoint'):
        preflight(config(load_from=str(tmp_path / 'none.pth')))


@pytest.mark.parametrize('given', [None, ''])
def test_no_pretrained_checkpoint(folders, given):
    with pytest.raises(ValueError, match=r'Give its checkpoint with --cfg-options model\.backbone'):
        preflight(classifier_config(folders, given))


def test_random_weights_on_request(folders):
    cfg = classifier_config(folders)
    cfg.model.backbone.init_cfg = None
    preflight(cfg)


def test_pretrained_checkpoints_that_do_not_fit(folders, tmp_path):
    missing = str(tmp_path / 'none.pth')
    with pytest.raises(FileNotFoundError, match=r'model\.backbone\.init_cfg\.checkpoint=.*none'):
        preflight(classifier_config(folders, missing))
    other = save_backbone(tmp_path / 'vit.pth', build_backbone(VIT))
    with pytest.raises(ValueError, match='none of the 30 tensors'):
        preflight(classifier_config(folders, other))
    text = tmp_path / 'text.pth'
    text.write_text('nothing')
    with pytest.raises(ValueError, match=r'text\.pth is no checkpoint'):
        preflight(classifier_config(folders, str(text)))


def test_a_run_that_resumes_needs_no_pretrained_checkpoint(folders, tmp_path):
    cfg = classifier_config(folders, work_dir=str(tmp_path), resume=True)
    # Nothing to resume from: MMEngine would start anew.
    with pytest.raises(ValueError, match='starts from a pretrained backbone'):
        preflight(cfg)
    model = MODELS.build(cfg.model)
    preflight(classifier_config(folders, resume=True, load_from=save(tmp_path / 'a.pth', model)))


def test_weights_that_are_not_finite(folders, tmp_path):
    model = build_backbone(RESNET)
    model.conv1.weight.data[0, 0, 0, 0] = torch.nan
    cfg = classifier_config(folders, save_backbone(tmp_path / 'nan.pth', model))
    with pytest.raises(ValueError, match=r'nan\.pth: 1 of \d+ tensors .* conv1\.weight: the tr'):
        preflight(cfg)
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model)
    model.head.fc.bias.data[1] = torch.inf
    cfg.load_from = save(tmp_path / 'inf.pth', model, cfg.model.to_dict())
    diverged = r'inf\.pth: 1 of \d+ tensors .* head\.fc\.bias: the training .* has diverged'
    for check, resume, option in (
        (preflight, False, 'load_from='),
        (preflight, True, '--resume '),
        (preflight_test, False, ''),
    ):
        cfg.resume = resume
        with pytest.raises(ValueError, match=f'^{option}.*{diverged}'):
            check(cfg)


def trained(folders, tmp_path, **changes):
    """A config to test with, and a checkpoint of its model."""
    cfg = classifier_config(folders, **changes)
    cfg.load_from = save(tmp_path / 'trained.pth', MODELS.build(cfg.model), cfg.model.to_dict())
    return cfg


def test_testing_needs_the_trained_model_alone(folders, tmp_path):
    cfg = trained(folders, tmp_path)
    cfg.train_dataloader.dataset.data_root = 'nowhere'
    preflight_test(cfg)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'model.head.num_classes': 3}, r'num_classes=3, but test_dataloader\.dataset has 2'),
        (
            {'model.backbone.depth': 50, 'model.head.in_channels': 256},
            r'another model \(ImageClassifier\).*: it lacks|size mismatch',
        ),
        ({'model.head.in_channels': 65}, r'size mismatch for head\.fc\.weight'),
    ],
)
def test_testing_with_another_config(folders, tmp_path, changes, message):
    cfg = trained(folders, tmp_path)
    cfg.merge_from_dict(changes)
    with pytest.raises(ValueError, match=message):
        preflight_test(cfg)


def test_testing_without_data_or_checkpoint(folders, tmp_path):
    cfg = trained(folders, tmp_path)
    cfg.test_dataloader.dataset.data_root = 'nowhere'
    with pytest.raises(FileNotFoundError, match=r"test_dataloader\.dataset: 'nowhere'"):
        preflight_test(cfg)
    cfg = trained(folders, tmp_path)
    cfg.load_from = 'none.pth'
    with pytest.raises(FileNotFoundError, match=r'none\.pth: there is no such checkpoint'):
        preflight_test(cfg)
    text = tmp_path / 'text.pth'
    text.write_text('nothing')
    cfg.load_from = str(text)
    with pytest.raises(ValueError, match=r'text\.pth is no checkpoint'):
        preflight_test(cfg)
    torch.save([1], text)
    with pytest.raises(ValueError, match=r'text\.pth: this is no checkpoint, but a list'):
        preflight_test(cfg)


def test_weights_to_start_from_of_another_architecture(tmp_path):
    cfg = config(load_from=str(tmp_path / 'a.pth'))
    model = MODELS.build(cfg.model)
    state = model.state_dict()
    # As DistributedDataParallel names them; some tensors may be missing and others left over.
    state.pop('backbone.conv1.weight')
    state['other'] = torch.zeros(1)
    torch.save({f'module.{key}': value for key, value in state.items()}, cfg.load_from)
    preflight(cfg)
    name = next(key for key in state if key.startswith('neck') and key.endswith('weight'))
    torch.save(dict(state_dict={**state, name: torch.zeros(3, 3)}), cfg.load_from)
    with pytest.raises(
        ValueError, match=rf'load_from=.*a\.pth: the checkpoint is of another.*{name}'
    ):
        preflight(cfg)
    torch.save(dict(student=state), cfg.load_from)
    with pytest.raises(
        ValueError, match=r'none of its tensors, such as student, .*published_to_hvs'
    ):
        preflight(cfg)


def test_the_option_of_a_pretrained_backbone_inside_an_hvs_config(tmp_path):
    cfg = dino_config()
    cfg.model.backbone.init_cfg = dict(type='PretrainedBackbone', checkpoint=None)
    with pytest.raises(ValueError, match=r'^model\.backbone\.init_cfg\.checkpoint=None'):
        preflight(cfg)
    hvs = dict(type='HVSAlgorithm', algorithm=cfg.model, candidates=[2, 2], keep=[1, 1])
    cfg.model = {**hvs, 'algorithm': {**cfg.model, 'head': {**cfg.model.head, 'num_crops': 2}}}
    with pytest.raises(ValueError, match=r'^model\.algorithm\.backbone\.init_cfg\.checkpoint=None'):
        preflight(cfg)
    path = tmp_path / 'a.pth'
    torch.save(MODELS.build(cfg.model).state_dict(), path)
    cfg.model.algorithm.backbone.init_cfg.checkpoint = str(path)
    preflight(cfg)
