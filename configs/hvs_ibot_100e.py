# iBOT, ViT-S/16, 100 epochs of ImageNet-1k, 4 global candidates.
#
# Drawn and kept as the code published with the paper does (automl/hvp, branch ibot): of 4 global crops
# the first comes from the first pipeline, one of the first two and one of the last two are kept.
_base_ = 'baselines/ibot_vit-small_100e.py'

from hvs_mm import hard_views

globals().update(hard_views(_base_, candidates=[2, 2], keep=[1, 1], num_views=[1, 3]))
