"""Makes Runners start quickly in a process that imports this module.

It leaves out work that every Runner repeats and no test looks at: seconds of a test of a few steps.
"""

from __future__ import annotations

import gc

import mmengine.config.config
from yapf.yapflib import yapf_api

import hvs_mm  # noqa: F401  its objects are among those that are left alone

# MMEngine collects garbage, which is slow among all that the imports have left.
gc.collect()
gc.freeze()
# It formats its config several times, and no test needs the line breaks. MMEngine 0.10.7 has the
# function under its own name, later releases import it when they need it.
for module in (yapf_api, mmengine.config.config):
    module.FormatCode = lambda text, **_: (text, True)
