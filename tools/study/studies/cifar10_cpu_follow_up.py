# Why SimSiam with hard views from the start is behind its baseline in cifar10_cpu.py: crops that
# are larger, so that two of an image have more in common; half the color jitter; the harder of two
# random pairs instead of the hardest of all six.
_base_ = 'cifar10_cpu.py'

name = 'cifar10_cpu_follow_up'
_views = 'train_dataloader.dataset.pipeline.1.transforms.0'
_larger_crops = {f'{_views}.0.crop_ratio_range': (0.5, 1.0)}
_weaker_color = {
    f'{_views}.1.transforms.0.brightness': 0.2,
    f'{_views}.1.transforms.0.contrast': 0.2,
    f'{_views}.1.transforms.0.saturation': 0.2,
    f'{_views}.1.transforms.0.hue': 0.05,
}
arms = dict(
    _delete_=True,
    baseline_larger_crops=dict(
        config='baseline', cfg_options=_larger_crops, per_method=_base_._small['baseline']
    ),
    hardest_larger_crops=dict(
        config='selection', cfg_options=_larger_crops, per_method=_base_._small['selection']
    ),
    harder_of_2=dict(
        config='selection',
        cfg_options={'model.selector': dict(type='hardest', max_comparisons=2)},
        per_method=_base_._small['selection'],
    ),
    baseline_weaker_color=dict(
        config='baseline', cfg_options=_weaker_color, per_method=_base_._small['baseline']
    ),
    hardest_weaker_color=dict(
        config='selection', cfg_options=_weaker_color, per_method=_base_._small['selection']
    ),
)
runs = [
    dict(
        methods=['simsiam'],
        arms=[
            'baseline_larger_crops',
            'hardest_larger_crops',
            'harder_of_2',
            'baseline_weaker_color',
            'hardest_weaker_color',
        ],
        epochs=[5],
        seeds=[0, 1, 2],
    ),
]
