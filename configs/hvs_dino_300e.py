# DINO, ViT-S/16, 300 epochs of ImageNet-1k, 4 global and 16 local candidates.
#
# It keeps the hardest of 64 random combinations, as the only run config in the code published with the
# paper (automl/hvp, branch dino-wds, limit_comparisons: 64). The hardest of all 51,480:
#   --cfg-options model.selector.max_comparisons=None
_base_ = 'baselines/dino_vit-small_300e.py'

from hvs_mm import hard_views

globals().update(hard_views(
    _base_, candidates=[2, 2, 16], keep=[1, 1, 8],
    selector=dict(type='hardest', max_comparisons=64)))
