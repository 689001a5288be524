# VICReg, ResNet-50, 100 epochs of ImageNet-1k, with 2 candidate views of each of the 2 pipelines.
#
# The baseline is ours. Its loss is that of a batch; views are selected by their influence on it.
_base_ = 'baselines/vicreg_resnet50_100e.py'

from hvs_mm import hard_views

globals().update(hard_views(_base_, candidates=[2, 2], keep=[1, 1]))
