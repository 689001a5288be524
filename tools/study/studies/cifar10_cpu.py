# cifar10.py with networks of half the width, patches of 8 px and few epochs: hours on two cores.
_base_ = 'cifar10.py'

name = 'cifar10_cpu'
_resnet = {'backbone.base_channels': 32, 'backbone.stem_channels': 32, 'neck.in_channels': 256}
_simsiam = {
    **_resnet,
    'neck.hid_channels': 512,
    'neck.out_channels': 512,
    'head.predictor.in_channels': 512,
    'head.predictor.hid_channels': 128,
    'head.predictor.out_channels': 512,
}
_simclr = {**_resnet, 'neck.hid_channels': 256}
_vit = {
    'backbone.patch_size': 8,
    'neck.hidden_channels': 256,
    'neck.bottleneck_channels': 64,
    'neck.out_channels': 256,
    'head.out_channels': 256,
}
_small = dict(
    baseline=dict(
        simsiam={f'model.{k}': v for k, v in _simsiam.items()},
        simclr={f'model.{k}': v for k, v in _simclr.items()},
        dino={f'model.{k}': v for k, v in _vit.items()},
        ibot={f'model.{k}': v for k, v in _vit.items()},
    ),
    selection=dict(
        simsiam={f'model.algorithm.{k}': v for k, v in _simsiam.items()},
        simclr={f'model.algorithm.{k}': v for k, v in _simclr.items()},
        dino={f'model.algorithm.{k}': v for k, v in _vit.items()},
        ibot={f'model.algorithm.{k}': v for k, v in _vit.items()},
    ),
)
# The best of cifar10_cpu_tuning.py, for the baselines; the others' are those of their configs.
methods = dict(
    simsiam=dict(cfg_options={'optim_wrapper.optimizer.lr': 0.15, 'custom_hooks.0.lr': 0.15}),
    ibot=dict(cfg_options={'train_dataloader.dataset.pipeline.2.patch_size': 8}),
)
arms = dict(
    baseline=dict(per_method=_small['baseline']),
    random=dict(per_method=_small['selection']),
    hardest=dict(per_method=_small['selection']),
    # Random views first: while the features are worth nothing, hardness may be noise.
    hardest_late=dict(
        config='selection', cfg_options={'model.schedule.warmup': 2}, per_method=_small['selection']
    ),
)
runs = [
    dict(epochs=[5], seeds=[0, 1, 2]),
    # As long as 5 epochs of hardest take.
    dict(methods=['simsiam'], arms=['baseline'], epochs=[8], seeds=[0, 1, 2]),
    dict(methods=['simclr'], arms=['baseline'], epochs=[7], seeds=[0, 1, 2]),
    dict(methods=['dino', 'ibot'], arms=['baseline'], epochs=[9], seeds=[0, 1, 2]),
]
evaluation = dict(knn=dict(interval=1))
