# Barlow Twins, ResNet-50, 300 epochs of ImageNet-1k, with 2 candidate views of each of the 2 pipelines.
#
# The baseline's settings. Its loss is that of a batch; views are selected by their influence on it.
_base_ = 'mmpretrain::barlowtwins/barlowtwins_resnet50_8xb256-coslr-300e_in1k.py'

from hvs_mm import hard_views

globals().update(hard_views(_base_, candidates=[2, 2], keep=[1, 1]))
