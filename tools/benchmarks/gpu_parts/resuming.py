"""Whether a run that is resumed ends with the weights of one that is not."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hvs_mm.engine import build_runner

from .setting import Setting

_IMAGES, _BATCH, _EPOCHS = 16, 4, 2


def check_resuming(setting: Setting, method: str) -> dict[str, Any]:
    """Train the demo of a method on the device, and again from its checkpoint after one epoch.

    On a GPU in float16 with a loss scaler, whose state the checkpoint holds. Some operations there
    add up in another order each time; then the difference counts against those of runs that were
    never stopped.

    Returns:
        ``steps`` of the run; ``difference``, the largest between the weights of the resumed run and
        those of the whole one; ``noise``, the largest between it and two more whole ones, 0 if
        there is no difference. ``failed`` if the first is more than ten times the second.
    """
    with tempfile.TemporaryDirectory() as folder, _same_algorithms():
        place = Path(folder)
        whole = _train(setting, method, place / 'whole')
        resumed = _train(setting, method, place / 'resumed', place / 'whole' / 'epoch_1.pth')
        difference, noise = largest_difference(whole, resumed), 0.0
        if difference > 0:
            others = [_train(setting, method, place / name) for name in ('second', 'third')]
            noise = max(largest_difference(whole, other) for other in others)
    steps = _EPOCHS * _IMAGES // _BATCH
    found = {'method': method, 'steps': steps, 'difference': difference, 'noise': noise}
    # A comparison with NaN is false.
    if not difference <= 10 * noise:
        found['failed'] = f'weights differ by {difference:.2g}, those of whole runs by {noise:.2g}'
    return found


@contextmanager
def _same_algorithms() -> Iterator[None]:
    """Let cuDNN take algorithms that give the same numbers each time."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = before


def _train(
    setting: Setting, method: str, folder: Path, checkpoint: Path | None = None
) -> dict[str, Tensor]:
    """Train the demo, from a checkpoint if there is one, and return its weights."""
    cfg = Setting(setting.device, tiny=True).config(method)
    loader = {'batch_size': _BATCH, 'num_workers': 0, 'persistent_workers': False}
    cfg.merge_from_dict(
        {
            'work_dir': str(folder),
            # MMEngine takes every name once in a process.
            'experiment_name': str(folder),
            'resume': checkpoint is not None,
            'load_from': None if checkpoint is None else str(checkpoint),
            'train_cfg.max_epochs': _EPOCHS,
            'default_hooks.checkpoint': {'interval': 1, 'max_keep_ckpts': -1},
            'train_dataloader': {**loader, 'dataset': {'num_samples': _IMAGES}},
            **{f'default_hooks.{name}': None for name in ('panel', 'selection', 'health')},
        }
    )
    if setting.device == 'cuda':
        cfg.optim_wrapper.update(type='AmpOptimWrapper', dtype='float16')
    runner = build_runner(cfg)
    runner.train()
    return {name: value.detach().cpu() for name, value in runner.model.state_dict().items()}


def largest_difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The largest absolute difference of two states of the same names and shapes, NaN if any is."""
    pairs = ((value.double(), other[name].double()) for name, value in one.items())
    return float(torch.stack([(a - b).abs().max() for a, b in pairs]).max())
