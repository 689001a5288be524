"""What every Runner repeats and no test looks at, left out: seconds of a test of a few steps."""

from __future__ import annotations

import gc

import mmengine.config.config
import mmengine.runner.runner
from yapf.yapflib import yapf_api


def take_short_cuts() -> None:
    """Make Runners start quickly, for as long as this process lives."""
    # MMEngine collects garbage, which is slow among all that the imports have left.
    gc.collect()
    gc.freeze()
    # It formats its config several times, and no test needs the line breaks. MMEngine 0.10.7 has
    # the function by a name of its own, later ones import it when they need it.
    for module in (yapf_api, mmengine.config.config):
        module.FormatCode = lambda text, **_: (text, True)
