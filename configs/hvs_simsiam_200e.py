# SimSiam, ResNet-50, 200 epochs of ImageNet-1k, with 4 candidate views per image.
#
# The baseline's settings, which are those of the paper but for its batch of 512, at the same rate per
# sample: on 8 GPUs
#   --cfg-options train_dataloader.batch_size=64 optim_wrapper.optimizer.lr=0.1 custom_hooks.0.lr=0.1
_base_ = 'mmpretrain::simsiam/simsiam_resnet50_8xb32-coslr-200e_in1k.py'

from hvs_mm import hard_views

globals().update(hard_views(_base_, candidates=[4], keep=[2]))
