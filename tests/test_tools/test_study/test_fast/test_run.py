"""Studies with ``engine='fast'``: lines, resumed runs, and forks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from hvs_study.config import config_hash, resolve_config, resolve_trunk
from hvs_study.fast.run import FastRun
from hvs_study.plan import Study, read_study
from hvs_study.schema import StudyError
from tests.helpers.tools import ROOT, load_tool

STUDY = """
name = 'tiny'
engine = 'fast'
methods = dict(
    simsiam=dict(
        baseline='configs/demo/simsiam.py', selection='configs/demo/hvs_simsiam.py'),
    dino=dict(baseline='configs/demo/dino.py', selection='configs/demo/hvs_dino.py'))
arms = dict(
    baseline=dict(config='baseline'),
    hardest=dict(config='selection'),
    late=dict(config='selection', cfg_options={'model.schedule': dict(warmup=1)}),
    sparse=dict(config='selection', cfg_options={'model.schedule': dict(interval=2)}))
cfg_options = {
    'train_dataloader.dataset.num_samples': 16,
    'train_dataloader.dataset.img_size': 48,
    'train_dataloader.batch_size': 8}
runs = [
    dict(methods=['simsiam'], epochs=[2], seeds=[0]),
    dict(epochs=[1, 2], forks=[1, 2], seeds=[0])]
evaluation = dict(
    knn=dict(k=3, interval=2, queries=dict(type='ShapesDataset', split='val', num_samples=20)),
    transfer=dict(scenes=dict(
        bank=dict(type='ShapesDataset', layout='scene', num_samples=30),
        queries=dict(type='ShapesDataset', layout='scene', split='val', num_samples=20))))
"""
BOTH = pytest.mark.parametrize('method', ['simsiam', pytest.param('dino', marks=pytest.mark.slow)])
#: What of a record is of the machine and the hour.
OF_THE_HOUR = (
    'started',
    'starts',
    'seconds',
    'cpu_seconds',
    'process_cpu_seconds',
    'jobs',
    'revision',
    'dirty',
)


@pytest.fixture(scope='module')
def study(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp('study') / 'study.py'
    path.write_text(STUDY)
    return path


def run_one(study: Path, run: str) -> dict[str, Any]:
    """Make a run in this process, and return its line."""
    paths = ['--work-dir', study.parent / 'work', '--results', study.parent / 'out.jsonl']
    command = [study, *paths, '--jobs', 1, '--one', run]
    load_tool('study/run').main([str(part) for part in command])
    lines = (study.parent / 'out.jsonl').read_text().splitlines()
    return {one['run']: one for one in map(json.loads, lines)}[run]


def folder_of(study: Path, run: str) -> Path:
    (folder,) = (study.parent / 'work').glob(f'{run}-*')
    return folder


def without_times(record: dict[str, Any]) -> dict[str, Any]:
    found = {key: value for key, value in record.items() if key not in OF_THE_HOUR}
    curve = {key: value for key, value in found['curve'].items() if 'seconds' not in key}
    return {**found, 'curve': curve}


def test_a_line_has_what_a_run_measured(study):
    record = run_one(study, 'simsiam-hardest-e2-s0')
    assert (record['steps'], record['images'], record['fork'], record['epochs']) == (4, 16, 0, 2)
    curve = record['curve']
    assert curve['epoch'] == [0, 1, 2]
    assert [value is None for value in curve['knn']] == [False, True, False]
    assert curve['knn'][-1] == record['knn']
    assert 0 < curve['cpu_seconds'][1] < curve['cpu_seconds'][2] == record['cpu_seconds']
    # A multiple of 1 in 20 images.
    assert record['transfer'].keys() == {'scenes'}
    assert record['transfer']['scenes'] % 5 == 0 < record['transfer']['scenes']
    assert record['selection']['epoch'] == [1, 2]
    assert record['selection']['hardness'] == [1.0, 1.0]
    assert {'iou_kept', 'iou_all', 'score_gap'} < set(record['selection'])
    assert record['health']['epoch'] == [0, 2]
    assert {'feature_std', 'alignment'} < set(record['health'])
    assert 'student_information' not in record['health']
    assert not list(folder_of(study, record['run']).glob('*.pth'))
    assert len(json.dumps(record)) < 6000


def test_arms_begin_with_the_same_network(study):
    baseline = run_one(study, 'simsiam-baseline-e2-s0')
    hardest, late = (run_one(study, f'simsiam-{arm}-e2-s0') for arm in ('hardest', 'late'))
    assert baseline['selection'] is None
    assert late['selection']['epoch'] == [2]
    first = {record['curve']['knn'][0] for record in (baseline, hardest, late)}
    assert len(first) == 1
    # Until it selects, an arm is the baseline.
    losses = [record['curve']['loss'][1] for record in (baseline, late, hardest)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    assert losses[0] != losses[2]


def test_a_run_that_breaks_off_continues_to_the_same_line(study, monkeypatch):
    wanted = run_one(study, 'simsiam-hardest-e2-s0')
    path = study.parent / 'out.jsonl'
    path.write_text('')
    saved = FastRun.save

    def save_and_stop(self: FastRun, path: Path) -> None:
        saved(self, path)
        raise KeyboardInterrupt

    monkeypatch.setattr(FastRun, 'save', save_and_stop)
    with pytest.raises(SystemExit):
        run_one(study, wanted['run'])
    assert (folder_of(study, wanted['run']) / 'state.pth').is_file()
    monkeypatch.undo()
    again = run_one(study, wanted['run'])
    assert len(again['starts']) == 2
    assert without_times(again) == without_times(wanted)


def test_a_run_that_has_trained_its_trunk_counts_steps_from_its_start(study):
    record = run_one(study, 'simsiam-sparse-f1-e2-s0')
    # Of two steps in an epoch, the first, with 8 images.
    assert record['selection']['images'] == [8, 8]
    assert record['selection']['epoch'] == [2, 3]


@BOTH
def test_forks_share_a_trunk(study, method):
    """Trained up to the first fork, and from there to the second."""
    late = run_one(study, f'{method}-hardest-f2-e1-s0')
    (trunk,) = (study.parent / 'work/trunks').glob(f'{method}-*')
    assert sorted(path.name for path in trunk.glob('*.pth')) == ['epoch_1.pth', 'epoch_2.pth']
    early, baseline = (
        run_one(study, f'{method}-{arm}-f1-e2-s0') for arm in ('hardest', 'baseline')
    )
    assert len(list((study.parent / 'work/trunks').glob(f'{method}-*'))) == 1
    assert late['curve']['epoch'] == early['curve']['epoch'] == [0, 1, 2, 3]
    assert early['curve']['loss'][:2] == late['curve']['loss'][:2] == baseline['curve']['loss'][:2]
    assert len({tuple(one['curve']['loss']) for one in (early, late, baseline)}) == 3
    # Evaluated every second epoch, where a run forks, and in the end.
    assert [value is None for value in early['curve']['knn']] == [False, False, False, False]
    assert early['selection']['epoch'] == [2, 3]
    assert late['selection']['epoch'] == [3]
    assert len(early['health']['feature_std']) == 4
    for name in ('student_information', 'local_student_information'):
        assert (name in early['health']) == (method == 'dino')
    assert early['steps'] == 6
    assert (early['fork'], early['epochs']) == (1, 2)


def settings_of(study: Path, run: str) -> tuple[Study, Any, Any]:
    found = read_study(str(study), ROOT)
    one = next(one for one in found.runs if one.id == run)
    return found, resolve_config(found, one, {}), resolve_trunk(found, one, {})


@BOTH
def test_a_fork_is_a_run_whose_schedules_begin_late(study, tmp_path, method):
    """The trunk and the run after it, against one training from the start."""
    found, cfg, trunk = settings_of(study, f'{method}-baseline-f1-e2-s0')
    whole = FastRun(found, cfg, start=1, cache=tmp_path)
    whole.train(3, lambda run: None)
    first = FastRun(found, trunk, start=1, cache=tmp_path)
    first.train(1, lambda run: run.save(tmp_path / 'trunk.pth'))
    second = FastRun(found, cfg, start=1, cache=tmp_path)
    second.load(tmp_path / 'trunk.pth')
    second.train(3, lambda run: None)
    assert second.curve['loss'] == whole.curve['loss']
    for name, value in second.trainer.model.state_dict().items():
        assert torch.equal(value, whole.trainer.model.state_dict()[name]), name
    rates = [group['lr'] for group in second.trainer.optim_wrapper.optimizer.param_groups]
    assert min(rates) < cfg.optim_wrapper.optimizer.lr / 2


def test_trunks_do_not_depend_on_the_fork_or_the_arm(study):
    runs = ('dino-hardest-f2-e1-s0', 'dino-hardest-f1-e2-s0', 'dino-late-f1-e1-s0')
    found = [settings_of(study, run) for run in runs]
    assert len({config_hash(trunk, one) for one, _, trunk in found}) == 1
    assert len({config_hash(cfg, one, trunk) for one, cfg, trunk in found}) == 3
    cfg = found[1][1]
    # A warm-up of one epoch, then the values it leaves until the fork, then cosines to the end.
    ends = [(one.type, one.get('begin', 0), one.end) for one in cfg.param_scheduler]
    assert ends == [('LinearLR', 0, 1), ('CosineAnnealingLR', 1, 3), ('CosineWeightDecay', 1, 3)]
    assert [one.type for one in found[0][2].param_scheduler] == ['LinearLR']


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ("engine = 'fast'", "engine = 'swift'", "engine='swift': expected one of"),
        ("engine = 'fast'", '', "only engine='fast' starts runs from others"),
        ('forks=[1, 2]', 'forks=[0]', 'forks=0: expected a whole number, at least 1'),
        ("dino=dict(baseline='configs", "dino=dict(plain='configs", 'does not have: name it there'),
    ],
)
def test_mistakes_in_a_study_are_told(study, tmp_path, old, new, message):
    path = tmp_path / 'study.py'
    path.write_text(STUDY.replace(old, new))
    with pytest.raises(StudyError, match=message):
        read_study(str(path), ROOT)


def test_other_images_that_are_missing_are_told(tmp_path):
    path = tmp_path / 'study.py'
    scenes = "bank=dict(type='ShapesDataset', layout='scene', num_samples=30)"
    path.write_text(STUDY.replace(scenes, "bank='nowhere'"))
    with pytest.raises(SystemExit, match=r'evaluation\.transfer\.scenes\.bank: .*nowhere'):
        load_tool('study/run').main([str(path), '--work-dir', str(tmp_path / 'work')])
