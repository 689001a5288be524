# SimSiam, ResNet-50, 100 epochs of ImageNet-1k, with 4 candidate views per image.
#
# The baseline's settings, which are those of the paper but for its batch of 512, at the same rate per
# sample: published/hvp_simsiam.py.
_base_ = 'mmpretrain::simsiam/simsiam_resnet50_8xb32-coslr-100e_in1k.py'

from hvs_mm import hard_views

globals().update(hard_views(_base_, candidates=[4], keep=[2]))
