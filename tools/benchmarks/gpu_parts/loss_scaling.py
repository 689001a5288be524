"""Training in float16 with torch's loss scaler."""

from __future__ import annotations

from typing import Any

import torch
from _building import build_steps
from _steps import Steps

from .batches import Batches
from .setting import Setting, require_cuda

_STEPS = 10
#: No float16 gradient of a loss times this is finite.
_TOO_LARGE = 2.0**60


def check_loss_scaling(setting: Setting, method: str) -> dict[str, Any]:
    """Train in float16 under MMEngine's ``AmpOptimWrapper``, then provoke an overflow.

    Returns:
        As :func:`train_scaled`.
    """
    require_cuda(setting)
    cfg, device = setting.config(method), torch.device(setting.device)
    batches = Batches(cfg, device, 16)
    return {
        'method': method,
        **train_scaled(build_steps(cfg, device, batches.draw, dtype='fp16'), _STEPS),
    }


def train_scaled(steps: Steps, number: int) -> dict[str, Any]:
    """Take steps with selection whose optimizer wrapper scales the loss.

    Returns:
        ``steps``; ``skipped``, those that the scaler has skipped; ``scale``, the last one;
        ``nonfinite``, the share of scores of the last selection that are not finite. ``failed`` if
        all were skipped, a weight is not finite, or a step whose loss is scaled until its gradients
        overflow changes a weight or does not halve the scale.
    """
    scaler, batch = steps.optim_wrapper.loss_scaler, steps.draw(None)
    trained = [p for p in steps.model.parameters() if p.requires_grad]
    skipped, scale = 0, scaler.get_scale()
    for _ in range(number):
        steps.hvs(batch)
        # It shrinks after a step that was skipped, and only then.
        skipped += scaler.get_scale() < scale
        scale = scaler.get_scale()
    selection = steps.model.last_selection
    nonfinite = float(selection.nonfinite.mean()) if selection is not None else 0.0
    found = {'steps': number, 'skipped': skipped, 'scale': scale, 'nonfinite': nonfinite}
    if skipped == number:
        return {**found, 'failed': f'all {number} steps were skipped'}
    if not all(bool(p.isfinite().all()) for p in trained):
        return {**found, 'failed': f'weights are not finite after {number} steps'}
    before = [p.detach().clone() for p in trained]
    scaler.update(_TOO_LARGE)
    steps.hvs(batch)
    if not all(torch.equal(one, other) for one, other in zip(before, trained)):
        return {**found, 'failed': 'a step with infinite gradients has changed weights'}
    if scaler.get_scale() != _TOO_LARGE / 2:
        found['failed'] = f'after an overflow the scale is {scaler.get_scale():g}, not halved'
    return found
