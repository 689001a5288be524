_base_ = 'dino_vit.py'

model = dict(
    _delete_=True,
    type='HVSAlgorithm',
    algorithm={{_base_.model}},
    candidates=[2, 2, 8],
    keep=[1, 1, 4])

train_dataloader = dict(
    dataset=dict(pipeline=[
        dict(type='LoadCheckedImage'),
        dict(
            type='CandidateViews',
            num_views=[2, 2, 8],
            transforms=[{{_base_.global_pipeline1}}, {{_base_.global_pipeline2}}, {{_base_.local_pipeline}}]),
        dict(type='PackViews'),
    ]))

default_hooks = dict(
    selection=dict(type='SelectionStatsHook'), bad_images=dict(type='BadImagesHook'))
