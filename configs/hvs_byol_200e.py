# BYOL, ResNet-50, 200 epochs of ImageNet-1k, with 2 candidate views of each of the 2 pipelines.
#
# The baseline's settings. The paper does not train BYOL.
_base_ = 'mmpretrain::byol/byol_resnet50_16xb256-coslr-200e_in1k.py'

from hvs_mm import hard_views

globals().update(hard_views(_base_, candidates=[2, 2], keep=[1, 1]))
