"""Makes Runners start quickly in a process that imports this module.

It leaves out work that every Runner repeats and no test looks at: seconds of a test of a few steps.
"""

from __future__ import annotations

import gc
from functools import cache
from types import SimpleNamespace

import mmengine.config.config
import mmengine.config.utils
import mmengine.dataset.base_dataset
import mmengine.runner.loops
from yapf.yapflib import yapf_api

import hvs_mm  # noqa: F401  its objects are among those that are left alone

# MMEngine collects garbage for every data set, which is slow among all that the imports have left.
gc.collect()
gc.freeze()
mmengine.dataset.base_dataset.gc = SimpleNamespace(collect=lambda: 0)
# It formats its config several times, and no test needs the line breaks. MMEngine 0.10.7 has the
# function under its own name, later releases import it when they need it.
for module in (yapf_api, mmengine.config.config):
    module.FormatCode = lambda text, **_: (text, True)
# It reads the index of all upstream configs, 85 YAML files, for every config that inherits one.
mmengine.config.utils.load = cache(mmengine.config.utils.load)
# It waits for two seconds where a loop by iterations begins an epoch.
mmengine.runner.loops.time = SimpleNamespace(sleep=lambda _: None)
