# DenseCL, ResNet-50, 200 epochs of ImageNet-1k, with 4 candidate views per image.
#
# The baseline's settings. Of the 2 kept views the first one is the query, the second one the key.
_base_ = 'mmpretrain::densecl/densecl_resnet50_8xb32-coslr-200e_in1k.py'

from hvs_mm import hard_views

globals().update(hard_views(_base_, candidates=[4], keep=[2]))
