"""What was done to a view, in a few words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..selection.statistics.color import COLOR_CHANGES

#: How the changes of colors are written.
_FACTORS = {'brightness': 'bri', 'contrast': 'con', 'saturation': 'sat'}


def describe_view(colors: Sequence[float], flips: Sequence[bool]) -> str:
    """The flips and color changes of a view; empty if there are none.

    Args:
        colors: The 7 numbers of ``view_colors``.
        flips: Mirrored horizontally, vertically.

    Returns:
        E.g. ``'bri 1.2, con 0.8\\nsat 0.9, hue -0.05\\nflip, gray, blur 1.4'``: lines short enough
        to stand below a small picture.
    """
    changes = dict(zip(COLOR_CHANGES, np.asarray(colors).tolist()))
    factors = [f'{short} {changes[n]:.1f}' for n, short in _FACTORS.items() if changes[n] != 1]
    jitter = [*factors, *([f'hue {changes["hue"]:+.2f}'] if changes['hue'] else [])]
    others = {
        'flip': flips[0],
        'upside down': flips[1],
        'gray': changes['grayscale'],
        f'blur {changes["blur"]:.1f}': changes['blur'],
        'solarized': changes['solarize'],
    }
    lines = [jitter[:2], jitter[2:], [name for name, happened in others.items() if happened]]
    return '\n'.join(', '.join(line) for line in lines if line)
