# SimCLR, ResNet-50, 200 epochs of ImageNet-1k, with 4 candidate views per image.
#
# The baseline's settings: batch 4096 on 16 GPUs, as in the paper. published/hvp_simclr.py has the
# paper's schedule and weight decay.
_base_ = 'mmpretrain::simclr/simclr_resnet50_16xb256-coslr-200e_in1k.py'

from hvs_mm import hard_views

globals().update(hard_views(_base_, candidates=[4], keep=[2]))
