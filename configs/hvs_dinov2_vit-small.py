# DINOv2, ViT-S/14, 100 epochs of ImageNet-1k, 4 global candidates and 8 local crops, all kept.
_base_ = 'baselines/dinov2_vit-small.py'

from hvs_mm import hard_views

globals().update(hard_views(_base_, candidates=[2, 2, 8], keep=[1, 1, 8]))
