# Linear evaluation of a ViT-S/16 on ImageNet-1k as in the code published with DINO (eval_linear.py): [CLS] of the last
# 4 layers, frozen, SGD without weight decay, 100 epochs, batch 1024 (8 x 128).
_base_ = [
    'mmpretrain::_base_/datasets/imagenet_bs32_pil_bicubic.py',
    'mmpretrain::_base_/schedules/imagenet_sgd_coslr_100e.py',
    'mmpretrain::_base_/default_runtime.py',
    '../_base_/hvs.py',
]

model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='LastLayersVisionTransformer',
        # MMPretrain's 'small' is another network: 8 layers of width 768.
        arch='deit-small',
        img_size=224,
        patch_size=16,
        last_layers=4,
        init_cfg=dict(type='PretrainedBackbone', checkpoint=None)),
    head=dict(type='LinearClsHead', in_channels=4 * 384, num_classes=1000))

# Crops for training are resized bilinearly there, images for testing bicubically.
train_dataloader = dict(
    batch_size=128,
    dataset=dict(pipeline=[
        _base_.train_pipeline[0],
        dict(type='RandomResizedCrop', scale=224, backend='pillow'),
        *_base_.train_pipeline[2:],
    ]))

# 0.001 per 256 images.
optim_wrapper = dict(optimizer=dict(lr=0.004, weight_decay=0.))
auto_scale_lr = dict(base_batch_size=1024)
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=3), finite_step=dict(type='FiniteStepHook'))
