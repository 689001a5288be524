# How much do differences between hard views and the baseline vary over the seeds? 20 epochs of
# CIFAR-10 in class folders (see cifar10.py), the demo's ResNet, computed in bfloat16. Its runs say
# how many seeds the comparison needs, and are no part of it.
_base_ = 'cifar10.py'

name = 'hard_views_pilot'
engine = 'fast'
_backbone = dict(
    _delete_=True,
    type='ResNet_CIFAR',
    depth=18,
    num_stages=3,
    out_indices=(2,),
    strides=(2, 2, 2),
    dilations=(1, 1, 1),
    stem_channels=16,
    base_channels=16,
    zero_init_residual=False,
)
_simclr = {'backbone': _backbone, 'neck.in_channels': 64, 'neck.hid_channels': 256}
_simsiam = {
    'backbone': _backbone,
    'neck.in_channels': 64,
    'neck.hid_channels': 256,
    'neck.out_channels': 256,
    'head.predictor': dict(in_channels=256, hid_channels=64, out_channels=256),
}


def _small(prefix):
    return dict(
        simclr={prefix + key: value for key, value in _simclr.items()},
        simsiam={prefix + key: value for key, value in _simsiam.items()},
    )


# Faster than float32 on a core that has instructions for it.
cfg_options = {'optim_wrapper.type': 'AutocastOptimWrapper'}
methods = dict(
    # The best for the baseline in cifar10_cpu_tuning.py. In hard_views_tuning.py it has the highest
    # linear accuracy for both arms, as the rate of SimCLR's config has.
    simsiam=dict(cfg_options={'optim_wrapper.optimizer.lr': 0.15, 'custom_hooks.0.lr': 0.15}),
)
arms = dict(
    _delete_=True,
    baseline=dict(config='baseline', per_method=_small('model.')),
    hardest=dict(config='selection', per_method=_small('model.algorithm.')),
)
runs = [dict(methods=['simclr', 'simsiam'], epochs=[20], seeds=list(range(200, 206)))]
evaluation = dict(knn=dict(interval=5))
