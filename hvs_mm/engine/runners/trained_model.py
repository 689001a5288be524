"""Load the model of a trained run."""

from __future__ import annotations

from mmengine.config import Config
from mmengine.logging import MessageHub

from ...models.hvs_algorithm import HVSAlgorithm, selecting_model
from ...weights.checkpoint_files import load_checkpoint
from .building import build_model


def load_selecting_model(
    cfg: Config, path: str, device: str = 'cpu', trust: bool = False
) -> HVSAlgorithm:
    """Build a model with hard view selection and load all weights of a checkpoint.

    Args:
        cfg: The complete config.
        path: Path of the checkpoint, which also sets the epoch.
        device: Device of the model, given by ``--device``.
        trust: Read the checkpoint even if it holds objects that can run code.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: If it cannot be read, is of another model, the model selects no views, or there
            is no such device.
    """
    model = selecting_model(build_model(cfg, trust))
    checkpoint = load_checkpoint(path, trust)
    if not isinstance(checkpoint, dict):
        raise ValueError(f'{path}: this is no checkpoint, but a {type(checkpoint).__name__}.')
    try:
        model.load_state_dict(checkpoint.get('state_dict', checkpoint))
    except RuntimeError as error:
        # torch lists all differences, one kind a line below its first.
        reason = str(error).strip().splitlines()[1:2] or [str(error)]
        reason = ' '.join(reason[0].split(', ')[:3])
        raise ValueError(f'{path}: it is of another model than the config: {reason} ...') from error
    tell_epoch(cfg, (checkpoint.get('meta') or {}).get('epoch'))
    try:
        return model.to(device)
    except (AssertionError, RuntimeError) as error:
        raise ValueError(f'--device {device}: there is no such device ({error}).') from error


def tell_epoch(cfg: Config, epoch: int | None) -> None:
    """Set the epoch in MMEngine's hub, as a Runner does: DINO's temperature depends on it."""
    hub = MessageHub.get_current_instance()
    max_epochs = cfg.get('train_cfg', {}).get('max_epochs')
    if max_epochs:
        hub.update_info('max_epochs', max_epochs)
    # Without its epoch, a checkpoint counts as the last one.
    done = epoch or max_epochs
    if done:
        hub.update_info('epoch', done - 1)
