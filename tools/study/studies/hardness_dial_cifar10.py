# hardness_dial.py on CIFAR-10 in class folders (see cifar10.py), with the networks of
# cifar10_cpu.py.
_base_ = 'hardness_dial.py'

name = 'hardness_dial_cifar10'
_heads = {
    'neck.hidden_channels': 256,
    'neck.bottleneck_channels': 64,
    'neck.out_channels': 256,
    'head.out_channels': 256,
}
_baseline = {'model.backbone.patch_size': 8} | {f'model.{k}': v for k, v in _heads.items()}
_selection = {'model.algorithm.backbone.patch_size': 8} | {
    f'model.algorithm.{k}': v for k, v in _heads.items()
}
methods = dict(
    dino=dict(
        _delete_=True,
        baseline='configs/cifar10/dino_vit.py',
        selection='configs/cifar10/hvs_dino_vit.py',
    ),
    ibot=dict(
        _delete_=True,
        baseline='configs/cifar10/ibot_vit.py',
        selection='configs/cifar10/hvs_ibot_vit.py',
        cfg_options={'train_dataloader.dataset.pipeline.2.patch_size': 8},
    ),
)
arms = {
    arm: dict(
        per_method=dict.fromkeys(['dino', 'ibot'], _baseline if arm == 'baseline' else _selection)
    )
    for arm in _base_.arms
}
arms['late'].update(cfg_options={'model.schedule.warmup': 1})
runs = [dict(epochs=[2], seeds=[seed]) for seed in (0, 1, 2)]
evaluation = dict(knn=dict(interval=1), linear=dict(C=0.01))
