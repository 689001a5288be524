"""The console of ``tools/train.py``: what a user reads, and nothing else."""

from __future__ import annotations

import os
import re
import shlex
import signal
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.tools import ROOT, ToolProcess, load_tool

DEMO = 'configs/demo/hvs_dino.py'
#: Two epochs of 5 steps on one core in seconds.
SHORT = [
    'train_dataloader.dataset.num_samples=40',
    'train_dataloader.batch_size=8',
    'train_dataloader.num_workers=0',
    'train_cfg.max_epochs=2',
    # As long as the run.
    'param_scheduler.1.end=2',
    'param_scheduler.2.end=2',
    'default_hooks.panel=None',
    # Upstream's, which leaves the interval of the console to the length of the epoch.
    'default_hooks.logger.interval=100',
    'default_hooks.selection.interval=5',
]
LINE = re.compile(
    r'epoch +\d+/\d+ step +\d+  loss +-?\d+\.\d{3}  lr \d\.\de[+-]\d\d  eta +(\d+d\d\dh|[\d:]+)'
    r'  [ \d.]{5} img/s  hard -?\d\.\d\d  IoU [+-]\d\.\d{3}  low \d+%'
)


@pytest.fixture(autouse=True)
def _from_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def train(work_dir: Path, *arguments: str, options: list[str] = SHORT) -> None:
    name = f'experiment_name={uuid.uuid4().hex}'
    command = [DEMO, *arguments, '--work-dir', str(work_dir), '--cfg-options', name, *options]
    load_tool('train').main(command)


def log_file(work_dir: Path) -> Path:
    return max(work_dir.glob('*/*.log'))


def wait_until(condition: Callable[[], bool], seconds: float = 200) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_run(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    knn = ['default_hooks.knn.type=KNNHook', 'default_hooks.knn.interval=1']
    knn += ['default_hooks.knn.k=[5,10]', 'default_hooks.knn.queries.type=ShapesDataset']
    knn += ['default_hooks.knn.queries.num_samples=32', 'default_hooks.knn.queries.split=val']
    train(tmp_path, '--resume', options=[*SHORT, *knn])
    captured = capsys.readouterr()
    assert captured.err == ''
    lines = captured.out.splitlines()
    steps = [number for number, line in enumerate(lines) if ' step ' in line and 'eta' in line]

    # On what it trains, how much, and where the rest is written.
    assert steps[0] <= 5
    assert re.match(r'no GPU found: training on the CPU, \d+ thread|training on ', lines[0])
    assert lines[1] == (
        'hvs_dino: DINO, 6 of 12 views kept, 40 images, batch size 8, 2 epochs of 5 steps'
    )
    assert lines[2] == f'full log: {log_file(tmp_path)}'
    assert lines[4] == (
        f'There is no checkpoint in {tmp_path} to resume from. Training starts from the beginning.'
    )

    # One line for each of the short epochs, in columns.
    shown = [lines[number] for number in steps]
    assert [line.partition('  loss')[0] for line in shown] == [
        'epoch 1/2 step 5',
        'epoch 2/2 step 5',
    ]
    for line in shown:
        assert LINE.fullmatch(line)
        assert len(line) <= 100
    assert len({line.index('  hard') for line in shown}) == 1
    assert len(set(lines)) == len(lines), lines
    accuracies = [line for line in lines if line.startswith('k-NN after epoch')]
    assert len(accuracies) == 2
    pattern = r'k-NN after epoch 1: top-1 [\d.]+ [\d.]+ % \(k=5 10, teacher\), \d+ s'
    assert re.fullmatch(pattern, accuracies[0])

    # What came out of it, where it is, and what comes next.
    assert len(lines) == steps[0] + 2 + 2 + 4
    assert re.fullmatch(
        r'done in \d:\d\d:\d\d: 2 epochs, final loss \d\.\d+, k-NN top-1 [\d.]+ % \(k=(5|10)\)',
        lines[-4],
    )
    checkpoint = tmp_path / 'epoch_2.pth'
    assert lines[-3:] == [
        f'checkpoint: {checkpoint}',
        f'log: {log_file(tmp_path)}',
        f'next: python tools/eval_knn.py {tmp_path / "hvs_dino.py"} {checkpoint}',
    ]
    load_tool('eval_knn').main(shlex.split(lines[-1])[3:])
    assert 'k-NN with the teacher' in capsys.readouterr().out

    # The same command again would overwrite it.
    with pytest.raises(SystemExit, match=r'^error: .* holds a run already, .*--overwrite'):
        train(tmp_path, options=[*SHORT, *knn])

    # The file has everything.
    text = log_file(tmp_path).read_text()
    assert 'System environment' in text
    assert text.count('is skipped since its requires_grad=False') > 30
    assert 'Epoch(train) [2][5/5]' in text
    assert 'knn/top5_k10: ' in text


def test_verbose(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    train(tmp_path, '--verbose', options=[*SHORT, 'train_cfg.max_epochs=1'])
    text = capsys.readouterr().out
    assert 'System environment' in text
    assert text.count('is skipped since its requires_grad=False') > 30
    assert 'Epoch(train) [1][5/5]' in text
    assert not any(map(LINE.fullmatch, text.splitlines()))
    assert 'training on ' in text
    assert '\nnext: python tools/eval_knn.py ' in text


def test_interrupt_and_resume(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run_dir = tmp_path / 'run'
    options = [*SHORT, 'train_dataloader.num_workers=2', 'train_cfg.max_epochs=100']
    options += ['param_scheduler.1.end=100', 'param_scheduler.2.end=100']
    options += ['default_hooks.checkpoint.by_epoch=False', 'default_hooks.checkpoint.interval=3']
    command = [DEMO, '--work-dir', str(run_dir), '--cfg-options', *options]
    process = ToolProcess('train', *command, OMP_NUM_THREADS='1')
    wait_until(lambda: (run_dir / 'last_checkpoint').exists() or not process.is_running())
    workers = Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text().split()
    # As a terminal does, which signals all of them.
    for pid in [*map(int, workers), process.pid]:
        os.kill(pid, signal.SIGINT)
    ended = process.wait(100)
    assert ended.returncode == 130
    assert '\nstopping after this step; Ctrl-C again stops at once\n' in ended.stdout
    # The process that starts the tools has another method than the config.
    assert re.fullmatch('(warning: Multi-processing start method .*\n)?', ended.stderr)
    stopped, line, last = ended.stdout.splitlines()[-3:]
    assert len(workers) >= 2

    match = re.fullmatch(
        r'stopped at (?:epoch (\d+) \(step (\d) of 5\)|the end of epoch (\d+) of 100); '
        r'continue with --resume:',
        stopped,
    )
    epoch, step, full = match.groups()
    done = 5 * int(full) if full else 5 * (int(epoch) - 1) + int(step)
    saved = int((run_dir / 'last_checkpoint').read_text().rpartition('_')[2].partition('.')[0])
    assert done == saved
    assert last == f'last checkpoint: {run_dir}/interim_iter_{saved}.pth; nothing is lost'

    typed = shlex.split(line)
    assert typed == ['python', 'tools/train.py', *command, '--resume']
    # The typed options end with the flag.
    epochs = saved // 5 + 1
    name = f'experiment_name={uuid.uuid4().hex}'
    load_tool('train').main([*typed[2:-1], f'train_cfg.max_epochs={epochs}', name, typed[-1]])
    lines = capsys.readouterr().out.splitlines()
    assert any(
        line.startswith(f'resumed from {run_dir}/interim_iter_{saved}.pth at ') for line in lines
    )
    assert any(line.startswith('done in ') for line in lines)


def test_interrupt_before_training(tmp_path: Path, monkeypatch, capsys) -> None:
    tool = load_tool('train')

    def interrupt(*args: object, **kwargs: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(tool, 'preflight', interrupt)
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit) as caught:
            train(tmp_path)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert caught.value.code == 130
    assert capsys.readouterr().out == '\nstopped before training began\n'
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ('argv', 'launcher', 'command'),
    [
        (['a.py', '--resume'], 'none', 'python tools/train.py a.py --resume'),
        (['--resume', 'b.pth', 'a b.py'], 'none', "python tools/train.py 'a b.py' --resume"),
        (['a.py', '--resume=b.pth', '--amp'], 'none', 'python tools/train.py a.py --amp --resume'),
        (['a.py', '--resume', '--amp'], 'none', 'python tools/train.py a.py --amp --resume'),
        (
            ['a.py', '--launcher', 'pytorch', '--amp'],
            'pytorch',
            'tools/dist_train.sh a.py 4 --amp --resume',
        ),
    ],
)
def test_command_to_resume(
    argv: list[str], launcher: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('WORLD_SIZE', '4')
    assert load_tool('train').typed_command(argv, launcher, '--resume') == command
