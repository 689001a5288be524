# VICReg, ResNet-50, 100 epochs of ImageNet-1k. Loss, optimizer and batch size are those of VICReg's
# authors for this length (batch 512, 0.3 per 256 images). Views and network are those of MMPretrain's
# Barlow Twins, from which VICReg's code comes.
_base_ = [
    'mmpretrain::barlowtwins/barlowtwins_resnet50_8xb256-coslr-300e_in1k.py',
    '../_base_/hvs.py',
]

# Torch's initial weights, as published: with Barlow Twins' larger ones the covariance, which is not
# normalized, makes the first steps diverge.
model = dict(
    type='VICReg', neck=dict(init_cfg=None), head=dict(_delete_=True, type='VICRegHead'))

train_dataloader = dict(batch_size=64)
# No decay and no adaptive rate for biases and norms, whose rate is that of the weights.
excluded = dict(_delete_=True, decay_mult=0, lars_exclude=True)
optim_wrapper = dict(
    optimizer=dict(lr=0.6),
    paramwise_cfg=dict(
        custom_keys={'bn': excluded, 'bias': excluded, 'downsample.1': excluded}))
train_cfg = dict(max_epochs=100)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], T_max=90, end=100, eta_min=6e-4),
]
default_hooks = dict(finite_step=dict(type='FiniteStepHook'), health=dict(type='HealthHook'))
auto_scale_lr = dict(base_batch_size=512)
