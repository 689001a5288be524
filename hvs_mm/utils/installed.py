"""Which of the packages that not every user has are installed."""

from __future__ import annotations

from importlib.util import find_spec

#: Whether MMPretrain can be imported. Without it the package has only what works in plain torch.
HAS_MMPRETRAIN = all(find_spec(name) is not None for name in ('mmcv', 'mmengine', 'mmpretrain'))
