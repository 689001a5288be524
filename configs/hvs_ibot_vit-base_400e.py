# iBOT, ViT-B/16, 400 epochs of ImageNet-1k, 4 global candidates and 10 local crops.
#
# Drawn and kept as the code published with the paper does (automl/hvp, branch ibot): of 4 global crops
# the first comes from the first pipeline, one of the first two and one of the last two are kept, and
# so is every local crop.
_base_ = 'baselines/ibot_vit-base_400e.py'

from hvs_mm import hard_views

globals().update(hard_views(
    _base_, candidates=[2, 2, 10], keep=[1, 1, 10], num_views=[1, 3, 10]))
