"""VICReg, which MMPretrain lacks (arXiv 2105.04906)."""

from __future__ import annotations

from mmpretrain.models import BarlowTwins
from mmpretrain.registry import MODELS


@MODELS.register_module()
class VICReg(BarlowTwins):
    """VICReg: the two branches of Barlow Twins with a :class:`VICRegHead`."""
