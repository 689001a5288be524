"""Give a run another length."""

from __future__ import annotations

from mmengine.config import Config


def set_epochs(cfg: Config, epochs: int) -> None:
    """Let a config train for another number of epochs, with its schedules stretched to it.

    What ends with the run, ``end`` and ``T_max`` of ``param_scheduler``, ends with it again.
    Warm-ups keep their length.

    Args:
        cfg: Changed in place.
        epochs: At least 1.

    Raises:
        ValueError: If the run counts iterations, no schedule ends with it, or one would begin
            when the run is over.
    """
    train = cfg.get('train_cfg') or {}
    old = train.get('max_epochs')
    if old is None:
        raise ValueError(
            f'{cfg.filename}: train_cfg.max_epochs is missing: a study takes configs that count '
            "epochs, train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=...)."
        )
    schedulers = cfg.get('param_scheduler') or []
    schedulers = [schedulers] if isinstance(schedulers, dict) else schedulers
    stretched = [_stretch(cfg, one, old, epochs) for one in schedulers]
    if schedulers and not any(stretched):
        raise ValueError(
            f'{cfg.filename}: train_cfg.max_epochs={old}, but no entry of param_scheduler has that '
            "as its end or T_max, so that nothing tells how it goes with another length: set 'end' "
            "of the one that ends with the run, or with the study's cfg_options param_scheduler to "
            'None for a constant learning rate.'
        )
    train.max_epochs = epochs


def _stretch(cfg: Config, scheduler: dict, old: int, new: int) -> bool:
    """Stretch one schedule that ends with the run; whether it is one."""
    if not scheduler.get('by_epoch', True):
        return False
    begin = scheduler.get('begin', 0)
    found = False
    if scheduler.get('end') == old:
        scheduler['end'] = new
        found = True
    # What anneals after a warm-up is as long as what is left.
    for period, stretched in ((old, new), (old - begin, new - begin)):
        if scheduler.get('T_max') == period:
            scheduler['T_max'] = stretched
            found = True
            break
    if found and begin >= new:
        raise ValueError(
            f'{cfg.filename}: with epochs={new} the run is over when {scheduler["type"]} begins, '
            f'at epoch {begin}: train longer, or shorten the warm-up with cfg_options.'
        )
    return found
