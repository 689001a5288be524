"""Training with one call."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from mmengine.config import Config

from hvs_mm.runs import training
from hvs_mm.runs.training import RunError, train
from hvs_mm_cli.main import main
from tests.helpers.images import class_names, write_images

QUICK = {
    'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
}


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp('images')
    return write_images(folder, class_names(['cat', 'dog'], 8))


def quick(images, out, **arguments):
    arguments = {'steps': 3, 'image_size': 16, 'batch_size': 4, 'settings': QUICK, **arguments}
    return train(images, out, **arguments)


def test_a_run(images, tmp_path, capsys):
    folder = quick(images, tmp_path / 'run')
    assert folder == tmp_path / 'run'
    shown = capsys.readouterr().out
    for topic in ('images', 'network', 'views', 'length', 'optimizer'):
        assert f'\n{topic:<10}' in f'\n{shown}'
    assert (folder / 'epoch_1.pth').is_file()
    cfg = Config.fromfile(folder / 'config.py')
    assert cfg.recipe.arguments.steps == 3
    assert cfg.model.type == 'HVSAlgorithm'


def test_a_used_folder(images, tmp_path):
    folder = quick(images, tmp_path / 'run')
    with pytest.raises(ValueError, match=r'holds a run already: continue it with --resume'):
        quick(images, folder)
    with pytest.raises(ValueError, match=r'--views 6|--views 4, but --views is 6'):
        quick(images, folder, resume=True, views=6, settings=None)
    # Nothing is left to do.
    assert train(None, folder, resume=True) == folder
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other' / 'notes.txt').touch()
    with pytest.raises(ValueError, match='is not empty'):
        quick(images, tmp_path / 'other')


def test_a_rejected_run_leaves_nothing(images, tmp_path):
    with pytest.raises((RunError, ValueError)):
        quick(images, tmp_path / 'run', settings={'train_dataloader.batch_sise': 3})
    assert not (tmp_path / 'run').exists()


def test_hours_become_steps(images, tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(training, '_start', lambda folder, **kwargs: started.append(folder))
    folder = quick(images, tmp_path / 'run', steps=None, hours=0.01)
    cfg = Config.fromfile(folder / 'config.py')
    # A step takes between a millisecond and 5 seconds anywhere.
    assert 6 < cfg.train_cfg.max_iters < 36000
    assert started == [folder]


@pytest.mark.parametrize(('arguments', 'text'), [
    (['--hours', '0'], r'--hours 0 must be above 0'),
    (['--views', '1'], r'--views 1 leaves no choice'),
    (['--method', 'ibot', '--model', 'resnet18'], r'--method ibot masks patches'),
    (['--init', 'missing.pth'], r'--init .missing.pth.: there is no such checkpoint'),
    (['--out', '/proc/run'], r'--out ./proc/run. cannot be written'),
])  # fmt: skip
def test_mistakes_are_one_line_and_write_nothing(images, tmp_path, capsys, arguments, text):
    out = [] if '--out' in arguments else ['--out', str(tmp_path / 'run')]
    with pytest.raises(SystemExit, match=f'^error: {text}') as stop:
        main(['train', '--data', str(images), *out, *arguments])
    assert '\n' not in stop.value.code
    assert not (tmp_path / 'run').exists()


def test_the_command(images, tmp_path):
    main([
        'train', '--data', str(images), '--out', str(tmp_path / 'run'), '--steps', '2',
        '--image-size', '16', '--batch-size', '4', '--no-hard-views',
        '--set', 'train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False',
        '--set', 'randomness.seed=3',
    ])  # fmt: skip
    cfg = Config.fromfile(tmp_path / 'run' / 'config.py')
    assert cfg.model.type == 'SimCLR'
    assert (cfg.train_dataloader.num_workers, cfg.randomness.seed) == (0, 3)


@pytest.mark.parametrize(('number', 'saves', 'ends'), [
    (signal.SIGUSR1, True, 75), (signal.SIGUSR1, False, 1), (signal.SIGINT, True, 130),
])  # fmt: skip
def test_a_signal_reaches_the_launcher(tmp_path, number, saves, ends):
    """A stand-in for torchrun, which ends as that does when a signal has stopped it."""
    pointer = tmp_path / 'last_checkpoint'
    code = (
        'import signal, sys, time\n'
        'def stop(number, frame):\n'
        f'    open({str(tmp_path / "got")!r}, "w").write(str(number))\n'
        f'    {saves} and open({str(pointer)!r}, "w")\n'
        '    sys.exit(1)\n'
        f'signal.signal({int(number)}, stop)\n'
        f'open({str(tmp_path / "ready")!r}, "w")\n'
        'time.sleep(60)\n'
    )

    def send():
        while not (tmp_path / 'ready').exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    # One of an earlier run.
    pointer.write_text('epoch_1.pth')
    os.utime(pointer, (0, 0))
    before = signal.getsignal(number)
    threading.Thread(target=send).start()
    try:
        found = training._launch([sys.executable, '-S', '-c', code], tmp_path)
    except SystemExit as stopped:
        found = stopped.code
    except KeyboardInterrupt:
        found = 130
    assert found == ends
    assert (tmp_path / 'got').read_text() == str(int(number))
    assert signal.getsignal(number) is before


@pytest.mark.parametrize('ends', ['by a signal', 'by itself'])
def test_the_launcher_has_no_traceback(tmp_path, ends):
    (tmp_path / 'script.py').write_text(
        'import signal, sys, time\n'
        'signal.signal(signal.SIGINT, lambda *_: sys.exit(130))\n'
        'open("ready", "w")\n'
        f'{"time.sleep(60)" if ends == "by a signal" else "sys.exit(3)"}\n'
    )
    process = subprocess.Popen(
        [sys.executable, '-c', training._LAUNCHER, '--nproc-per-node=1', 'script.py'],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        env={**os.environ, 'PET_SIGNALS_TO_HANDLE': 'SIGINT', 'PET_RDZV_ENDPOINT': 'localhost:0'},
    )  # fmt: skip
    while process.poll() is None and not (tmp_path / 'ready').exists():
        time.sleep(0.01)
    if ends == 'by a signal':
        process.send_signal(signal.SIGINT)
    assert 'Traceback' not in process.communicate()[1]
    assert process.returncode == 1


def test_the_exit_code_of_the_launcher(tmp_path):
    command = [sys.executable, '-S', '-c', 'raise SystemExit(3)']
    assert training._launch(command, tmp_path) == 3
