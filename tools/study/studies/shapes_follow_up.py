# What changes what hard views do to DINO, SimCLR and iBOT on the built-in shapes: crops that are
# larger, so that two of an image have more in common; the harder of two random combinations instead
# of the hardest of all; selection once the features are worth something, or in every other step;
# for DINO, of one kind of crops; for iBOT, as many masked patches in every view, so that none is
# hard by its mask.
_base_ = 'shapes.py'

name = 'shapes_follow_up'
_larger_crops = dict(
    simclr={'train_dataloader.dataset.pipeline.0.transforms.0.0.crop_ratio_range': (0.4, 1.0)},
    dino={
        'train_dataloader.dataset.pipeline.0.transforms.0.0.crop_ratio_range': (0.4, 1.0),
        'train_dataloader.dataset.pipeline.0.transforms.1.0.crop_ratio_range': (0.4, 1.0),
        'train_dataloader.dataset.pipeline.0.transforms.2.0.crop_ratio_range': (0.1, 0.4),
    },
)
_equal_masks = {
    'train_dataloader.dataset.pipeline.1.ratio': 0.15,
    'train_dataloader.dataset.pipeline.1.ratio_spread': 0.0,
}
arms = dict(
    _delete_=True,
    baseline_larger_crops=dict(config='baseline', per_method=_larger_crops),
    hardest_larger_crops=dict(config='selection', per_method=_larger_crops),
    harder_of_2=dict(
        config='selection',
        cfg_options={'model.selector': dict(type='hardest', max_comparisons=2)},
    ),
    hardest_late=dict(config='selection', cfg_options={'model.schedule.warmup': 4}),
    # As many hard steps as with hardest_late, from the start.
    hardest_every_2nd=dict(config='selection', cfg_options={'model.schedule.interval': 2}),
    hardest_globals=dict(config='selection', candidates=[2, 2, 4]),
    hardest_locals=dict(config='selection', candidates=[1, 1, 8]),
    baseline_equal_masks=dict(config='baseline', per_method=dict(ibot=_equal_masks)),
    hardest_equal_masks=dict(config='selection', per_method=dict(ibot=_equal_masks)),
)
runs = [
    dict(
        methods=['dino', 'simclr'],
        arms=['baseline_larger_crops', 'hardest_larger_crops', 'hardest_late', 'harder_of_2'],
        epochs=[8],
        seeds=[0, 1, 2],
    ),
    dict(
        methods=['ibot'],
        arms=['hardest_late', 'baseline_equal_masks', 'hardest_equal_masks'],
        epochs=[8],
        seeds=[0, 1, 2],
    ),
    dict(
        methods=['dino'],
        arms=['hardest_every_2nd', 'hardest_globals', 'hardest_locals'],
        epochs=[8],
        seeds=[0, 1, 2],
    ),
]
