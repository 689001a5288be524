# DINO, ViT-B/16, 400 epochs of ImageNet-1k, 4 global and 16 local candidates.
_base_ = 'baselines/dino_vit-base_400e.py'

from hvs_mm import hard_views

globals().update(hard_views(_base_, candidates=[2, 2, 16], keep=[1, 1, 8]))
