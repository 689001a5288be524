"""Say in words what is wrong with a network, from the measures of its health."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite, log

#: Spread, and effective rank of the features, below which all images have nearly one feature.
_COLLAPSED_STD, _COLLAPSED_RANK = 0.02, 1.2
#: Projections have at least a rank of 2, and 2 % of the largest possible up to 5. In the demos
#: healthy runs had 16 of 64 and 40 of 256, SimSiam with a learning rate of 20 had 1.5 to 4 of 256.
_LEAST_RANK, _LEAST_SHARE, _ENOUGH = 2.0, 0.02, 5.0
#: Information of the teacher about an image, as a share of the largest possible.
_COLLAPSED_SHARE = 0.005
#: The same of the student. In the demo of DINO it was lowest at 0.004 with random views, at 0.0007
#: with the hardest of 64 combinations, from where it rose again, and fell to 0.0001 for good with
#: the hardest of all.
_UNIFORM_SHARE = 0.0005
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
        - ``'features'``, ``'projections'``: all images have nearly one feature, or few kinds of
          projections. The spread is below 0.02, or the effective rank below 1.2 for features and
          below 2 to 5 for projections, 2 % of the largest possible,
        - ``'teacher'``: its outputs tell less than 0.5 % of what they could about the image. Asked
          in place of the two above where there is a teacher, whose features may differ little in
          healthy runs: it magnifies the differences,
        - ``'student'``: its outputs tell less than 0.05 % of what they could, even if the teacher's
          look healthy,
        - ``'learning'``: no weight matrix has changed its direction by more than 1e-5 since the
          last measurement, while the learning rate is at least a tenth of the largest so far.
    """
    if not all(map(isfinite, health.values())):
        return {
            'not finite': 'some features are NaN or infinite: lower the learning rate, clip '
            'gradients (optim_wrapper.clip_grad), and continue from an earlier checkpoint.'
        }
    found = _collapse_of_outputs(health) if 'teacher_information' in health else _collapse(health)
    change = health.get('weight_change')
    if change is not None and change < _STILL and rate >= _ANNEALED * largest_rate:
        found['learning'] = (
            f'the network has stopped learning: since the last measurement no weight matrix has '
            f'changed its direction by more than {change:.1g}, at a learning rate of {rate:.2g}. '
            'Check the learning rate, its schedule, and the log for skipped steps.'
        )
    return found


def _collapse(health: Mapping[str, float]) -> dict[str, str]:
    most = min(health['images'], health.get('projection_dim', 0))
    least = max(_LEAST_RANK, min(_ENOUGH, _LEAST_SHARE * most))
    found = {}
    for name, bound in (('feature', _COLLAPSED_RANK), ('projection', least)):
        rank, std = health.get(f'{name}_rank'), health.get(f'{name}_std')
        if rank is not None and std is not None and (std < _COLLAPSED_STD or rank < bound):
            found[f'{name}s'] = (
                f'the {name}s have collapsed, they hardly differ between images: effective rank '
                f'{rank:.1f} of {min(health["images"], health[f"{name}_dim"])}, spread {std:.3f} '
                'of 1. Start again with a lower learning rate or a longer warm-up, and check that '
                'the views differ (tools/browse_views.py).'
            )
    return found


def _collapse_of_outputs(health: Mapping[str, float]) -> dict[str, str]:
    most = log(min(health['images'], health['prototypes']))
    found = {}
    teacher, student = health['teacher_information'], health['student_information']
    if teacher < _COLLAPSED_SHARE * most:
        found['teacher'] = (
            "the teacher's outputs have collapsed, they tell nearly nothing about the image: "
            f'{max(teacher, 0):.3f} of at most {most:.2f} nats. Start again with a lower learning '
            'rate, a lower teacher temperature (head.teacher_temp) or fewer prototypes '
            '(neck.out_channels and head.out_channels).'
        )
    if student < _UNIFORM_SHARE * most:
        found['student'] = (
            "the student's outputs hardly differ, they tell nearly nothing about the image: "
            f'{max(student, 0):.4f} of at most {most:.2f} nats. Start again with less hard views '
            '(model.selector, model.guard) or a lower learning rate.'
        )
    return found
