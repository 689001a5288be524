# Linear evaluation of a ResNet-50 on ImageNet-1k, as upstream does it for SimSiam: frozen backbone, LARS, 90 epochs,
# batch 4096 (8 x 512).
_base_ = [
    'mmpretrain::simsiam/benchmarks/resnet50_8xb512-linear-coslr-90e_in1k.py',
    '../_base_/hvs.py',
]

model = dict(backbone=dict(
    init_cfg=dict(_delete_=True, type='PretrainedBackbone', checkpoint=None)))

auto_scale_lr = dict(base_batch_size=4096)
default_hooks = dict(finite_step=dict(type='FiniteStepHook'))
