"""Say in words what is wrong with a network, from the measures of its health."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite, log

#: Spread and effective rank below which all images have nearly one feature.
_COLLAPSED_STD, _COLLAPSED_RANK = 0.02, 1.2
#: Information of the teacher about an image, as a share of the largest possible.
_COLLAPSED_SHARE = 0.005
#: Change of the direction of weights in an epoch below which nothing is learned.
_STILL = 1e-5
#: Share of the largest learning rate below which a schedule means the network to stand still.
_ANNEALED = 0.1


def find_problems(
    health: Mapping[str, float], rate: float = 1.0, largest_rate: float = 1.0
) -> dict[str, str]:
    """Find what is wrong with a network.

    Args:
        health: Results of :func:`measure_health`, and ``weight_change`` of ``HealthHook``.
        rate: The largest current learning rate.
        largest_rate: The largest one so far.

    Returns:
        One sentence in plain words for each problem, by its name:

        - ``'not finite'``: some features are NaN or infinite,
        - ``'features'``, ``'projections'``: all images have nearly one feature or projection. The
          spread is below 0.02 or the effective rank below 1.2,
        - ``'teacher'``: its outputs tell less than 0.5 % of what they could about the image,
        - ``'learning'``: no weight matrix has changed its direction by more than 1e-5 since the
          last measurement, while the learning rate is at least a tenth of the largest so far.
    """
    if not all(map(isfinite, health.values())):
        return {
            'not finite': 'some features are NaN or infinite: lower the learning rate, clip '
            'gradients (optim_wrapper.clip_grad), and continue from an earlier checkpoint.'
        }
    found = {}
    for name in ('feature', 'projection'):
        rank, std = health.get(f'{name}_rank'), health.get(f'{name}_std')
        if rank is not None and (std < _COLLAPSED_STD or rank < _COLLAPSED_RANK):
            found[f'{name}s'] = (
                f'the {name}s have collapsed, they are nearly the same for all images: effective '
                f'rank {rank:.1f} of {health[f"{name}_dim"]}, spread {std:.3f} of 1. Start again '
                'with a lower learning rate or a longer warm-up, and check that the views differ '
                '(tools/browse_views.py).'
            )
    information = health.get('teacher_information')
    if information is not None:
        most = log(min(health['images'], health['prototypes']))
        if information < _COLLAPSED_SHARE * most:
            found['teacher'] = (
                "the teacher's outputs have collapsed, they tell nearly nothing about the image: "
                f'{max(information, 0):.3f} of at most {most:.2f} nats. Start again with a lower '
                'learning rate, a lower teacher temperature (head.teacher_temp) or fewer '
                'prototypes (neck.out_channels and head.out_channels).'
            )
    change = health.get('weight_change')
    if change is not None and change < _STILL and rate >= _ANNEALED * largest_rate:
        found['learning'] = (
            f'the network has stopped learning: since the last measurement no weight matrix has '
            f'changed its direction by more than {change:.1g}, at a learning rate of {rate:.2g}. '
            'Check the learning rate, its schedule, and the log for skipped steps.'
        )
    return found
