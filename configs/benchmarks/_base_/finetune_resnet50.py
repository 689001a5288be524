# Fine-tuning of a ResNet-50 as in SimCLR (arXiv 2002.05709, appendix B.8): 20,000 steps of batch 256 (8 x 32), SGD with
# Nesterov momentum, random crops and flips alone. There, learning rate and weight decay are searched for each data
# set; here they have one value inside that grid. The cosine schedule is this project's choice.
_base_ = [
    'mmpretrain::_base_/models/resnet50.py',
    'mmpretrain::_base_/datasets/imagenet_bs32_pil_bicubic.py',
    'mmpretrain::_base_/default_runtime.py',
    '../../_base_/hvs.py',
]

model = dict(backbone=dict(init_cfg=dict(type='PretrainedBackbone', checkpoint=None)))

optim_wrapper = dict(optimizer=dict(
    type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4, nesterov=True))
param_scheduler = dict(type='CosineAnnealingLR', by_epoch=True, convert_to_iter_based=True)
auto_scale_lr = dict(base_batch_size=256)

val_cfg = dict()
test_cfg = dict()
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1), finite_step=dict(type='FiniteStepHook'))
