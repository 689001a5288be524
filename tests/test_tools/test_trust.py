"""Checkpoints of strangers: no tool runs the code in them without ``--trust``."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from hvs_mm.engine import CheckpointTrustHook, build_model, check_trust, trust_checkpoints
from hvs_mm.weights import PretrainedBackbone
from hvs_mm.weights.checkpoint_files import load_checkpoint
from hvs_study.config import config_hash, resolve_config
from hvs_study.plan import read_study
from hvs_study.training import run_folder
from tests.helpers.studies import write_study
from tests.helpers.tools import ROOT, load_tool, run_tool
from tests.helpers.traps import Shell, Trap

DEMO = str(ROOT / 'configs' / 'demo' / 'hvs_simsiam.py')
LINEAR = str(ROOT / 'configs' / 'demo' / 'linear.py')
TOOLS = sorted(
    str(path.relative_to(ROOT / 'tools').with_suffix(''))
    for path in (ROOT / 'tools').rglob('*.py')
    # Neither settings nor modules that commands import.
    if path.parent.name != 'studies'
    and not path.stem.startswith('_')
    and not (path.parent / '__init__.py').exists()
)
#: Tools that read no checkpoint and initialize no model but those of this package's configs.
READ_NONE = {
    'analysis/channel_statistics', 'analysis/plot_hardness', 'analysis/selection_report',
    'benchmarks/communication', 'benchmarks/device_photometry', 'benchmarks/gpu_check',
    'benchmarks/loader', 'benchmarks/throughput', 'compare', 'dev/release', 'dev/soak',
    'dev/upgrade', 'study/report',
}  # fmt: skip

pytestmark = pytest.mark.usefixtures('own_folder')


def as_zip(checkpoint: dict, path: Path) -> None:
    torch.save(checkpoint, path)


def as_before_torch_1_6(checkpoint: dict, path: Path) -> None:
    torch.save(checkpoint, path, _use_new_zipfile_serialization=False)


def as_plain_pickle(checkpoint: dict, path: Path) -> None:
    path.write_bytes(pickle.dumps(checkpoint))


FORMATS = (as_zip, as_before_torch_1_6, as_plain_pickle)


def write(path: Path, trap: Any, save: Callable = as_zip, **meta: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {'backbone.weight': torch.zeros(2)}
    save({'state_dict': weights, 'meta': {'epoch': 1, 'iter': 1, **meta}, 'trap': trap}, path)
    return path


def work_dir_with(path: Path) -> Path:
    folder = Path('work_dir')
    folder.mkdir()
    (folder / 'last_checkpoint').write_text(str(path))
    return folder


#: The command lines with which each tool may come to read a checkpoint.
COMMANDS: dict[str, list[Callable[[Path], list[Any]]]] = {
    'analysis/pair_loss_vs_iou': [lambda path: [DEMO, path]],
    'analysis/selection_agreement': [lambda path: [DEMO, path]],
    'benchmarks/step': [lambda path: [pretrained_config(path), '--repeats', 1, '--batch-size', 2]],
    'browse_views': [lambda path: [DEMO, '--checkpoint', path, '--number', 1]],
    'demo': [
        lambda path: ['--config', DEMO, '--cfg-options', f'load_from={path}'],
        lambda path: ['--config', pretrained_config(path)],
    ],
    'benchmarks/selection_stats': [
        lambda path: [pretrained_config(path)],
        lambda path: [DEMO, '--cfg-options', f'load_from={path}'],
    ],
    'eval_knn': [lambda path: [DEMO, path]],
    'extract_backbone': [lambda path: [path, 'out.pth']],
    'model_converters/hvs_to_published': [lambda path: [path, 'out.pth']],
    'model_converters/published_to_hvs': [lambda path: [path, 'out.pth']],
    'study/run': [
        lambda path: [write_study(Path('given')), '--cfg-options', f'load_from={path}'],
        lambda path: [study_that_goes_on(path), '--work-dir', 'runs', '--jobs', 1],
    ],
    'test': [
        lambda path: [LINEAR, path],
        lambda path: [LINEAR, path, '--cfg-options', 'resume=True'],
    ],
    'train': [
        lambda path: [DEMO, '--resume', path],
        lambda path: [DEMO, '--resume', '--work-dir', work_dir_with(path)],
        lambda path: [DEMO, '--cfg-options', f'load_from={path}'],
        lambda path: [LINEAR, '--pretrained', path],
        lambda path: [pretrained_config(path)],
        lambda path: [pretrained_config(path), '--resume'],
    ],
}


def pretrained_config(path: Path, kind: str = 'Pretrained') -> Path:
    """The demo, whose backbone starts from a checkpoint."""
    config = Path('pretrained.py')
    config.write_text(
        f'_base_ = {DEMO!r}\n'
        'model = dict(algorithm=dict(backbone=dict(init_cfg=dict('
        f'_delete_=True, type={kind!r}, checkpoint={str(path)!r}))))\n'
    )
    return config


def study_that_goes_on(path: Path) -> Path:
    """A study of one run, which finds a checkpoint in its folder."""
    file = write_study(Path('given'), arms=('baseline',))
    study = read_study(str(file), ROOT)
    digest = config_hash(resolve_config(study, study.runs[0], {}), study)
    folder = run_folder('runs', study.runs[0], digest)
    folder.mkdir(parents=True)
    (folder / 'last_checkpoint').write_text(str(path))
    return file


def run(tool: str, arguments: list[Any]) -> str:
    """Run a tool and return the line with which it gives up."""
    with pytest.raises(SystemExit) as error:
        load_tool(tool).main([str(argument) for argument in arguments])
    message = error.value.code
    assert isinstance(message, str), message
    assert message.startswith('error: ')
    assert '\n' not in message
    return message


def test_no_tool_is_forgotten() -> None:
    assert {*COMMANDS, *READ_NONE} == set(TOOLS)
    for tool in READ_NONE:
        text = (ROOT / 'tools' / f'{tool}.py').read_text()
        for word in ('load_checkpoint', 'init_weights', 'Runner', 'torch.load', 'load_selecting'):
            assert word not in text, tool


@pytest.mark.parametrize('tool', COMMANDS)
def test_no_tool_runs_the_code_in_a_checkpoint(tool: str, tmp_path: Path, marker: Path) -> None:
    for number, command in enumerate(COMMANDS[tool]):
        path = write(tmp_path / f'{number}.pth', Shell(marker))
        arguments = command(path)
        message = run(tool, arguments)
        assert not marker.exists(), arguments
        # The file, what it holds, and the way out.
        assert str(path) in message
        assert 'system' in message
        assert '--trust' in message
        for made in ('out.pth', 'work_dir', 'work_dirs'):
            left = list(Path(made).rglob('*')) if Path(made).is_dir() else []
            assert [p.name for p in left] in ([], ['last_checkpoint'])
            assert not Path(made).is_file()
        if Path('work_dir').is_dir():
            (Path('work_dir') / 'last_checkpoint').unlink()
            Path('work_dir').rmdir()


@pytest.mark.parametrize('save', FORMATS)
@pytest.mark.parametrize('trap', [Trap, Shell])
def test_every_format_is_refused(save: Callable, trap: type, tmp_path: Path, marker: Path) -> None:
    path = write(tmp_path / 'file.pth', trap(marker), save)
    with pytest.raises(ValueError, match=r'file\.pth'):
        load_checkpoint(path)
    with pytest.raises(ValueError, match=r'file\.pth'):
        load_checkpoint(path, mmap=True)
    for tool, arguments in (
        ('train', [DEMO, '--resume', path]),
        ('eval_knn', [DEMO, path]),
        ('test', [LINEAR, path]),
    ):
        assert 'file.pth' in run(tool, arguments)
    assert not marker.exists()


def test_the_trap_works(tmp_path: Path, marker: Path) -> None:
    """Else no other test here would tell anything."""
    for save in FORMATS[:2]:
        for trap in (Trap, Shell):
            load_checkpoint(write(tmp_path / 'file.pth', trap(marker), save), trust=True)
            assert marker.exists()
            marker.unlink()


def test_the_file_is_read_with_trust(tmp_path: Path, marker: Path) -> None:
    path = write(tmp_path / 'file.pth', Trap(marker))
    message = run('train', [DEMO, '--resume', path, '--trust'])
    assert 'another model' in message
    assert marker.exists()


def test_trust_reaches_the_initializer(tmp_path: Path, marker: Path) -> None:
    message = run(
        'train', [LINEAR, '--pretrained', write(tmp_path / 'x.pth', Trap(marker)), '--trust']
    )
    assert 'none of the 1 tensors' in message
    assert marker.exists()


# --- Resuming, downloads, hooks --------------------------------------------------------------


def test_a_program_in_a_checkpoint_is_not_run(tmp_path: Path, marker: Path) -> None:
    """MMEngine runs the text ``meta['config']`` of a checkpoint that it resumes from."""
    program = f'x = open({str(marker)!r}, "w").close()'
    cfg = Config.fromfile(DEMO)
    model = build_model(cfg)
    path = tmp_path / 'file.pth'
    meta = {'epoch': 0, 'iter': 0, 'config': program}
    torch.save({'state_dict': model.state_dict(), 'meta': meta}, path)
    message = run('train', [DEMO, '--resume', path])
    assert "meta['config']" in message
    assert str(path) in message
    assert not marker.exists()
    # Its weights alone are harmless.
    cfg.load_from = str(path)
    check_trust(cfg, model)
    # MMEngine does run it.
    cfg.merge_from_dict(dict(resume=True, work_dir=str(tmp_path / 'run')))
    runner = Runner.from_cfg(cfg)
    runner.train_loop  # noqa: B018  a property that builds it
    with pytest.raises(Exception):  # noqa: B017, PT011  the file has no optimizer
        runner.resume(str(path))
    assert marker.exists()


@pytest.mark.parametrize('scheme', ['http', 'https', 's3', 'torchvision', 'openmmlab'])
@pytest.mark.parametrize('options', [['--resume'], ['--cfg-options']])
def test_nothing_is_downloaded(scheme: str, options: list[str]) -> None:
    source = f'{scheme}://localhost:1/file.pth'
    value = source if options == ['--resume'] else f'load_from={source}'
    message = run('train', [DEMO, *options, value])
    assert source in message
    assert 'unpickle it, which runs whatever code is in it' in message
    assert '--trust' in message


def test_a_hook_checks_runs_of_others(tmp_path: Path, marker: Path) -> None:
    """As ``mim train`` starts them, with upstream's own tools."""
    cfg = Config.fromfile(DEMO)
    cfg.default_hooks.trust = dict(type='CheckpointTrustHook')
    cfg.train_dataloader.num_workers = 0
    cfg.train_dataloader.persistent_workers = False
    path = write(tmp_path / 'file.pth', Shell(marker))
    for number, settings in enumerate(
        (
            {'load_from': str(path)},
            {'resume': True},
            {'load_from': None, 'resume': False},
        )
    ):
        one = Config.fromfile(pretrained_config(path)) if number == 2 else cfg.copy()
        one.default_hooks.trust = cfg.default_hooks.trust
        one.merge_from_dict({'work_dir': str(tmp_path / str(number)), **settings})
        one.experiment_name = f'trust_{number}'
        Path(one.work_dir).mkdir()
        (Path(one.work_dir) / 'last_checkpoint').write_text(str(path))
        runner = Runner.from_cfg(one)
        with pytest.raises(ValueError, match=r'file\.pth holds a \S*system'):
            runner.train()
        assert not marker.exists()


def test_the_hook_looks_at_what_our_runner_would_read(tmp_path: Path, marker: Path) -> None:
    """Which has it by default, and needs no pointer to find a checkpoint, unlike MMEngine's."""
    cfg = Config.fromfile(DEMO)
    cfg.merge_from_dict({'work_dir': str(tmp_path), 'resume': True, 'experiment_name': 'ours'})
    write(tmp_path / 'epoch_1.pth', Shell(marker))
    with pytest.raises(ValueError, match=r'epoch_1\.pth holds a \S*system'):
        RUNNERS.build(cfg).train()
    assert not marker.exists()


def test_trust_is_set_everywhere() -> None:
    cfg = Config(
        dict(
            model=dict(a=[dict(init_cfg=dict(type='PretrainedBackbone'))]),
            default_hooks=dict(one=dict(type='CheckpointTrustHook'), two=dict(type='Other')),
            custom_hooks=[dict(type='mmengine.CheckpointTrustHook')],
        )
    )
    trust_checkpoints(cfg)
    assert cfg.model.a[0].init_cfg.trust
    assert cfg.default_hooks.one.trust
    assert cfg.custom_hooks[0].trust
    assert 'trust' not in cfg.default_hooks.two
    # Our Runner's, which is in no config.
    assert 'trust' not in cfg.default_hooks
    cfg.runner_type = 'mmpretrain.ReliableRunner'
    trust_checkpoints(cfg)
    assert cfg.default_hooks.trust.trust
    assert CheckpointTrustHook(trust=True).trust
    assert PretrainedBackbone('x', trust=True).trust


# --- What a run writes is read ---------------------------------------------------------------


def test_what_checkpoints_of_mmengine_may_hold_is_read(tmp_path: Path) -> None:
    values = {
        'arrays': [np.ones(2, dtype=code) for code in '?bhilqBHILQefdFDSU'],
        'numbers': [np.float32(1), np.int64(2), np.bool_(True), np.str_('x'), np.uint8(3)],
        'history': HistoryBuffer([1.0, 2.0], [1, 1]),
        'state': np.random.RandomState(0).get_state(),
        'python': [1, 'a', (2, None), {'b': {3}}, b'c', 1.5, slice(1), torch.float16],
        'generator': torch.get_rng_state(),
    }
    for save in FORMATS[:2]:
        path = tmp_path / 'file.pth'
        save(values, path)
        found = load_checkpoint(path)
        assert [array.dtype for array in found['arrays']] == [a.dtype for a in values['arrays']]
        assert found['history'].mean() == 1.5
        assert np.array_equal(found['state'][1], values['state'][1])


def test_objects_in_arrays_are_refused(tmp_path: Path, marker: Path) -> None:
    path = write(tmp_path / 'file.pth', np.array([Trap(marker)], dtype=object))
    with pytest.raises(ValueError, match='--trust'):
        load_checkpoint(path)
    assert not marker.exists()


def test_checkpoints_of_runs_are_read(tmp_path: Path) -> None:
    """Of a run with validation, k-NN and class names of its own, and it is resumed."""
    cfg = Config.fromfile(DEMO)
    cfg.merge_from_dict(
        {
            'work_dir': str(tmp_path),
            'experiment_name': f'run_{tmp_path.name}',
            'train_dataloader.dataset.num_samples': 16,
            'train_dataloader.batch_size': 8,
            'train_dataloader.num_workers': 0,
            'train_dataloader.persistent_workers': False,
            'train_dataloader.dataset.metainfo': dict(palette=[dict(color=1)], extra=dict(a=1)),
            'train_cfg.max_epochs': 1,
            'default_hooks.checkpoint.interval': 1,
            'default_hooks.logger.interval': 1,
        }
    )
    # To draw it takes longer than all the rest.
    del cfg.default_hooks['panel']
    Runner.from_cfg(cfg).train()
    path = tmp_path / 'epoch_1.pth'
    for mmap in (False, True):
        checkpoint = load_checkpoint(path, mmap=mmap)
        assert checkpoint['meta']['epoch'] == 1
        assert checkpoint['message_hub']['log_scalars']
    cfg.merge_from_dict({'resume': True})
    check_trust(cfg, build_model(cfg))
    # What makes this a test of more than the weights.
    assert isinstance(checkpoint['meta']['dataset_meta']['extra'], ConfigDict)


MEMORY_OF_READING = """
import os, sys
import torch
from hvs_mm.weights.checkpoint_files import load_checkpoint

def resident():
    pages = open('/proc/self/statm').read().split()[1]
    return int(pages) * os.sysconf('SC_PAGE_SIZE')

before = resident()
mapped = load_checkpoint(sys.argv[1], mmap=True)
with_mapped = resident()
whole = load_checkpoint(sys.argv[1])
print(with_mapped - before, resident() - with_mapped)
assert torch.equal(mapped['state_dict']['x'][:9], whole['state_dict']['x'][:9])
"""


def test_no_memory_is_taken_for_tensors_that_nobody_looks_at(tmp_path: Path) -> None:
    path, script, size = tmp_path / 'large.pth', tmp_path / 'script.py', 200 * 2**20
    torch.save({'state_dict': {'x': torch.zeros(size, dtype=torch.uint8)}}, path)
    script.write_text(MEMORY_OF_READING)
    # A process of its own: in one that has run a while, a tensor can take memory given back by
    # others, and nothing grows.
    process = run_tool(script, path)
    assert process.returncode == 0, process.stderr
    mapped, whole = map(int, process.stdout.split()[-2:])
    assert mapped < size / 4
    assert whole > size / 2
