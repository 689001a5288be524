"""Train on a folder of images with one call."""

from __future__ import annotations

import os
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from copy import deepcopy
from inspect import signature
from pathlib import Path
from statistics import median
from time import perf_counter, time
from types import FrameType
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..engine import PREEMPTED, Preempted, build_runner, merge_options
from ..engine.runners.checkpoint_paths import POINTER
from ..recipes import ImageSource, Recipe, choose_recipe, find_images, recipe_config
from ..recipes.config import write_knn_lists

#: The config of a run in its folder.
CONFIG = 'config.py'
#: Share of --hours that the steps may take; evaluation and checkpoints take the rest.
_SHARE_OF_STEPS = 0.9
#: Steps that are timed for --hours, after some that warm up.
_TIMED_STEPS, _WARMUP_STEPS = 8, 3
#: Exit code of a training that Ctrl-C has stopped; it has printed how to continue.
_INTERRUPTED = 130
#: torchrun, without the traceback of torchrun itself: its processes have said why they ended.
_LAUNCHER = """
import sys
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main
try:
    main()
except (ChildFailedError, SignalException):
    sys.exit(1)
"""
_TOOL = Path(__file__).parents[1] / '.mim' / 'tools' / 'train.py'


class RunError(RuntimeError):
    """A training that could not start or ended early; the message says why."""


def train(
    data: str | os.PathLike | None,
    out: str | os.PathLike,
    method: str = 'simclr',
    model: str | None = None,
    *,
    epochs: int | None = None,
    hours: float | None = None,
    steps: int | None = None,
    views: int = 4,
    hard_views: bool = True,
    image_size: int | None = None,
    batch_size: int | str = 'auto',
    init: str | os.PathLike | None = None,
    trust: bool = False,
    channels: int | None = None,
    resume: bool = False,
    devices: int = 1,
    amp: bool | None = None,
    threads: int | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """Pretrain a backbone on images, with hard views.

    The recipe is printed and becomes ``config.py`` in the folder of the run, which
    ``tools/train.py`` trains alike.

    Args:
        data: Folder of images, flat, nested or in class folders, with or without ``train`` and
            ``val``; a text file with a path a line; tar shards, ``'x-{000..099}.tar'``; or a data
            set of Hugging Face, ``'hf:PATH'``. Labels are never needed. May be left out with
            ``resume``.
        out: Folder of the run. It must hold no other run.
        method: ``'simsiam'``, ``'simclr'``, ``'byol'``, ``'moco'``, ``'mocov3'``, ``'densecl'``,
            ``'barlowtwins'``, ``'vicreg'``, ``'swav'``, ``'dino'``, ``'ibot'`` or
            ``'dinov2'``.
        model: ``'resnet18'``, ``'resnet50'``, ``'vit-tiny'``, ``'vit-small'`` or ``'vit-base'``;
            by default what fits the method and the machine.
        epochs: Passes over the images, 100 by default.
        hours: Train for about that long instead; a few steps are timed first.
        steps: Optimizer steps instead of epochs.
        views: Candidates per image, of which the hardest two are kept.
        hard_views: Select views; without it the method trains as published.
        image_size: Side of the crops in pixels.
        batch_size: Images per step over all devices, or ``'auto'``.
        init: File whose backbone the run starts from: a checkpoint, or a ViT or ResNet of DINO,
            iBOT, DINOv2 or timm. It decides the network.
        trust: Read this file even if it holds objects that can run code.
        channels: Channels as which images are taken; by default those of the files, but 3 of 8-bit
            gray images and of those with an alpha.
        resume: Continue the run in ``out`` from its last checkpoint, with its own settings.
        devices: Processes, one per GPU.
        amp: Train in mixed precision; by default on a GPU only.
        threads: Threads on a CPU; by default timed steps decide.
        settings: Entries of the config to override, e.g. ``{'optim_wrapper.optimizer.lr': 0.1}``.

    Returns:
        The folder of the run.

    Raises:
        FileNotFoundError: If images or the checkpoint are missing.
        OSError: If the folder of the run cannot be written.
        RunError: If the training ends early.
        SystemExit: With the code 75 if a signal of a batch system has stopped the training, which
            has saved.
        ValueError: If settings are unknown, out of range, or do not fit each other or the images.

    Examples:
        >>> train('images/', 'runs/first', method='simclr', epochs=20)
    """
    arguments = dict(locals())
    folder = Path(out).expanduser().absolute()
    if resume and (folder / CONFIG).is_file():
        _check_same_run(folder, arguments)
        _start(folder, resume=True, devices=devices, threads=threads)
        return folder
    if resume:
        print(f'{folder} holds no run yet: training starts from the beginning.')
    if data is None:
        raise ValueError('--data is missing: name a folder of images to train on.')
    _check_free(folder)
    images = find_images(data, channels)
    choice: dict[str, Any] = dict(
        method=method,
        model=model,
        views=views,
        hard_views=hard_views,
        image_size=image_size,
        batch_size=batch_size,
        devices=devices,
        amp=amp,
        init=init,
        trust=trust,
    )
    if hours is not None:
        if epochs is not None or steps is not None:
            raise ValueError('--hours, --epochs and --steps all say how long to train: give one.')
        if not hours > 0:
            raise ValueError(f'--hours {hours:g} must be above 0.')
        # The length is not known yet, and the speed does not depend on it.
        recipe = choose_recipe(images, steps=_TIMED_STEPS + _WARMUP_STEPS, **choice)
        steps = _steps_within(hours, recipe, images, settings)
    recipe = choose_recipe(images, epochs=epochs, steps=steps, **choice)
    cfg = _config(recipe, images, folder, settings)
    cfg.recipe.arguments = {
        name: str(value) if isinstance(value, os.PathLike) else value
        for name, value in arguments.items()
        if name not in ('out', 'resume', 'settings', 'threads')
    }
    for topic, reason in recipe.reasons.items():
        print(f'{topic:<10}{reason}')
    existed = folder.is_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if images.classes:
            write_knn_lists(images, folder)
        cfg.dump(folder / CONFIG)
        _start(folder, resume=False, devices=devices, threads=threads)
    except RunError:
        # Checks come before the first checkpoint or log: a rejected run leaves nothing behind.
        if not existed and not any(path.is_dir() for path in folder.iterdir()):
            shutil.rmtree(folder)
        raise
    except OSError as error:
        raise OSError(
            f'--out {str(out)!r} cannot be written ({error.strerror or error}): name a folder that '
            'you may write to.'
        ) from error
    return folder


def _config(
    recipe: Recipe,
    images: ImageSource,
    folder: Path,
    settings: Mapping[str, Any] | None,
) -> Config:
    cfg = recipe_config(recipe, images, folder)
    cfg.work_dir = str(folder)
    try:
        merge_options(cfg, dict(settings or {}))
    except ValueError as error:
        raise ValueError(str(error).replace('--cfg-options', '--set')) from error
    return cfg


def _check_free(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ValueError(f'--out {str(folder)!r} is a file: name a folder for the run.')
    if folder.is_dir() and any(folder.iterdir()):
        what = 'holds a run already' if (folder / CONFIG).is_file() else 'is not empty'
        way_out = 'continue it with --resume, or ' if (folder / CONFIG).is_file() else ''
        raise ValueError(f'--out {str(folder)!r} {what}: {way_out}name another folder.')


def _check_same_run(folder: Path, arguments: Mapping[str, Any]) -> None:
    """Raise a ``ValueError`` if an argument asks for another run than the one in a folder."""
    recorded = Config.fromfile(folder / CONFIG).get('recipe', {}).get('arguments', {})
    defaults = {name: p.default for name, p in signature(train).parameters.items()}
    for name, old in recorded.items():
        new = arguments[name]
        new = str(new) if isinstance(new, os.PathLike) else new
        if new is None or new in (old, defaults[name]):
            continue
        option = f'--{name.replace("_", "-")}'
        raise ValueError(
            f'--resume continues the run in {str(folder)!r} with its own settings, {option} {old}, '
            f'but {option} is {new}: leave it out, or start another run in another folder.'
        )
    if arguments['settings']:
        raise ValueError(
            f'--resume continues the run in {str(folder)!r} with its own settings: leave out '
            '--set, or start another run in another folder.'
        )


class _StepTimer(Hook):
    """Notes when each step ends."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.ends: list[float] = []

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        self.ends.append(perf_counter())


def _steps_within(
    hours: float,
    recipe: Recipe,
    images: ImageSource,
    settings: Mapping[str, Any] | None,
) -> int:
    """Time some steps and return how many fit into so many hours."""
    timer = _StepTimer()
    with tempfile.TemporaryDirectory() as folder:
        cfg = deepcopy(_config(recipe, images, Path(folder), settings))
        cfg.custom_hooks = [hook for hook in cfg.custom_hooks if hook['type'] != 'KNNHook']
        cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=10**9, save_last=False)
        cfg.log_level = 'ERROR'
        runner = build_runner(cfg)
        runner.register_hook(timer)
        runner.train()
    times = [after - before for before, after in zip(timer.ends, timer.ends[1:])]
    seconds = median(times[_WARMUP_STEPS - 1 :])
    return max(int(_SHARE_OF_STEPS * hours * 3600 / seconds), 1)


def _start(folder: Path, resume: bool, devices: int, threads: int | None) -> None:
    """Train the config in a folder with ``tools/train.py``, in this process or in several."""
    argv = [str(folder / CONFIG), '--work-dir', str(folder)]
    argv += ['--resume'] * resume + ([] if threads is None else [f'--threads={threads}'])
    if devices > 1:
        launcher = [sys.executable, '-c', _LAUNCHER, '--standalone']
        code = _launch(
            [*launcher, f'--nproc-per-node={devices}', str(_TOOL), *argv, '--launcher=pytorch'],
            folder,
        )
        if code:
            raise RunError(f'a process of the training ended with exit code {code}, see above.')
        return
    recorded = Config.fromfile(folder / CONFIG).recipe.arguments
    run, data = shlex.quote(_shown(folder)), shlex.quote(str(recorded.data))
    has_labels = (folder / 'knn_bank.txt').is_file()
    command = f'eval {run} --data {data}'
    if not has_labels:
        command = f'embed {run} --data {data} --out {run}/features.npz'
    try:
        main = runpy.run_path(str(_TOOL), run_name='hvs_mm_train')['main']
        main(argv, command=f'hvs-mm train --out {run}', then=f'hvs-mm {command}')
    except Preempted as stop:
        if stop.code == _INTERRUPTED:
            raise KeyboardInterrupt from stop
        # A batch system reads its exit code.
        raise
    except SystemExit as stop:
        if stop.code == _INTERRUPTED:
            raise KeyboardInterrupt from stop
        if stop.code:
            raise RunError(str(stop.code).removeprefix('error: ')) from stop


def _launch(command: list[str], folder: Path) -> int:
    """Run torchrun and return its exit code. What stops this process stops torchrun.

    Raises:
        KeyboardInterrupt: If Ctrl-C has stopped the training.
        SystemExit: With the code 75 if another signal has, and a checkpoint was saved since.
    """
    environment = {**os.environ, 'PET_SIGNALS_TO_HANDLE': 'SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1'}
    process: subprocess.Popen | None = None
    received: dict[int, float] = {}

    def hand_on(number: int, frame: FrameType | None) -> None:
        received.setdefault(number, time())
        if process is not None:
            process.send_signal(number)

    is_main = threading.current_thread() is threading.main_thread()
    numbers = [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP] if is_main else []
    # nohup lets a run outlive its terminal.
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    handlers = {
        number: signal.signal(number, hand_on)
        for number in numbers
        if number != signal.SIGHUP or not ignored
    }
    try:
        # In a session of its own a signal of the terminal reaches it once, by this process.
        process = subprocess.Popen(command, env=environment, start_new_session=True)
        for number in list(received):
            process.send_signal(number)
        code = process.wait()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if signal.SIGINT in received:
        raise KeyboardInterrupt
    pointer = folder / POINTER
    # torchrun itself ends with 1, whether its processes have saved or failed.
    if received and pointer.is_file() and pointer.stat().st_mtime >= min(received.values()):
        sys.exit(PREEMPTED)
    return code


def _shown(path: Path) -> str:
    """A path as a user would type it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith(os.pardir) else relative
