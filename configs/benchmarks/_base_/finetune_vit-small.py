# Fine-tuning of a ViT-S/16 with DeiT's recipe, as DINO and iBOT do, and with the settings of iBOT's run.sh: batch 768
# (8 x 96), 1000 epochs, repeated augmentation, learning rates per 512 images.
_base_ = ['mmpretrain::deit/deit-small_4xb256_in1k.py', '../../_base_/hvs.py']

model = dict(
    backbone=dict(
        drop_path_rate=0.1,
        init_cfg=dict(type='PretrainedBackbone', checkpoint=None)),
    head=dict(init_cfg=dict(type='TruncNormal', layer='Linear', std=0.02)))

train_dataloader = dict(
    batch_size=96,
    drop_last=True,
    sampler=dict(type='RepeatAugSampler'))

optim_wrapper = dict(
    optimizer=dict(lr=7.5e-6 * 768 / 512),
    clip_grad=None)
# From 1e-6 up to the learning rate, then down to 1e-5: nearly constant. As ratios, so that they scale with it.
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6 / (7.5e-6 * 768 / 512), end=5, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min_ratio=1e-5 / (7.5e-6 * 768 / 512), begin=5, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=1000, val_interval=10)
auto_scale_lr = dict(base_batch_size=768)
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=1), finite_step=dict(type='FiniteStepHook'))
