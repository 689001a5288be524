# SimSiam with hard views as automl/hvp trains it (branch main): ResNet-50, 100 epochs of ImageNet-1k. Names
# and values in comments are those of configs/ImageNet/pretrain_default.yaml in the repository of one of its
# authors, rapanti/MinSimAugment. Mixed precision, its default, is --amp.
#
# What MMPretrain's baseline has already is not repeated: crops of (0.2, 1), saturation 0.4, SGD with momentum
# 0.9 and a weight decay of 1e-4, a cosine by epoch, a fixed rate of the predictor.
_base_ = 'mmpretrain::simsiam/simsiam_resnet50_8xb32-coslr-100e_in1k.py'

from hvs_mm import hard_views

# num_crops: 4, select_fn: cross
globals().update(hard_views(_base_, candidates=[4], keep=[2]))

# batch_size: 512, here on 8 GPUs
train_dataloader['batch_size'] = 64
# lr: 0.05 per 256 images
lr = 0.1
optim_wrapper = dict(optimizer=dict(lr=lr))
# fix_pred_lr: true
custom_hooks = [dict(type='SimSiamHook', priority='HIGH', fix_pred_lr=True, lr=lr)]
