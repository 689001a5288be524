_base_ = 'ibot_vit.py'

model = dict(
    _delete_=True,
    type='HVSAlgorithm',
    algorithm={{_base_.model}},
    candidates=[2, 2],
    keep=[1, 1])

train_dataloader = dict(
    dataset=dict(pipeline=[
        dict(type='LoadCheckedImage'),
        dict(
            type='CandidateViews',
            num_views=[2, 2],
            transforms=[{{_base_.global_pipeline1}}, {{_base_.global_pipeline2}}]),
        {{_base_.block_masks}},
        dict(type='PackViews'),
    ]))

default_hooks = dict(
    selection=dict(type='SelectionStatsHook'), bad_images=dict(type='BadImagesHook'))
