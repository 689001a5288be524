# SimCLR with hard views as automl/hvp trains it (branch simclr): ResNet-50, 100 epochs of ImageNet-1k, batch
# 4096 on 16 GPUs. Names and values in comments are those of configs/pretrain_default.yaml in the repository
# of one of its authors, rapanti/MinSimAugment. Mixed precision, its default, is --amp.
#
# What MMPretrain's baseline has already is not repeated: crops and colors, the projector, temperature 0.1,
# LARS with momentum 0.9 and a rate of 0.3 per 256 images. Its LARS multiplies the rate into the momentum and
# leaves biases and norms out; docs/published.md says how much that is.
_base_ = 'mmpretrain::simclr/simclr_resnet50_16xb256-coslr-200e_in1k.py'

from hvs_mm import hard_views

globals().update(hard_views(_base_, candidates=[4], keep=[2]))

# weight_decay: 1e-4
optim_wrapper = dict(optimizer=dict(weight_decay=1e-4))
# epochs: 100
train_cfg = dict(max_epochs=100)
# warmup_epochs: 10, from 0; then a cosine to 1e-6 by step (pretrain.py, utils.cosine_scheduler)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-9, begin=0, end=10, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-6, begin=10, end=100, convert_to_iter_based=True),
]
