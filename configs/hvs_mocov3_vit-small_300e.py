# MoCo v3, ViT-S/16, 300 epochs of ImageNet-1k, with 2 candidate views of each of the 2 pipelines.
#
# The baseline's settings: batch 4096 on 16 GPUs. The paper of hard views does not train MoCo.
_base_ = 'mmpretrain::mocov3/mocov3_vit-small-p16_16xb256-amp-coslr-300e_in1k.py'

from hvs_mm import hard_views

globals().update(hard_views(_base_, candidates=[2, 2], keep=[1, 1]))
