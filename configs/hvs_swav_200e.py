# SwAV, ResNet-50, 200 epochs of ImageNet-1k, with 4 candidates of the 2 large crops.
#
# The baseline's settings. All 6 small crops are kept: choosing hard ones harmed DINO in our studies.
_base_ = 'mmpretrain::swav/swav_resnet50_8xb32-mcrop-coslr-200e_in1k-224px-96px.py'

from hvs_mm import hard_views

globals().update(hard_views(_base_, candidates=[4, 6], keep=[2, 6]))
