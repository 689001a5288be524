# Do the learning rates of the recipes of `hvs-mm train` lose against others? Small networks on
# the images in the folder RECIPE_IMAGES, which has train/<class>/ and val/<class>/.
import os
import tempfile
from importlib import import_module

# MMEngine would take a plain import for its own kind of config.
_recipes = import_module('hvs_mm.recipes')
import_module('hvs_study.schema').expect(
    'RECIPE_IMAGES' in os.environ,
    'it needs RECIPE_IMAGES=DIR in the environment, with DIR/train/<class>/ and DIR/val/<class>/.',
)

name = 'recipe_rates'
engine = 'fast'
_epochs = 20
_resnet = {
    'backbone': dict(
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
    ),
    'neck.in_channels': 64,
}
_vit = {
    'backbone.arch': dict(
        _delete_=True, embed_dims=96, num_layers=4, num_heads=3, feedforward_channels=192
    ),
    'backbone.patch_size': 8,
    'neck.in_channels': 96,
    'neck.hidden_channels': 256,
    'neck.bottleneck_channels': 64,
}
_networks = dict(
    simclr=('resnet18', {**_resnet, 'neck.hid_channels': 64}),
    simsiam=(
        'resnet18',
        {
            **_resnet,
            'neck.hid_channels': 256,
            'neck.out_channels': 256,
            'head.predictor': dict(in_channels=256, hid_channels=64, out_channels=256),
        },
    ),
    byol=('resnet18', {**_resnet, 'neck.hid_channels': 512}),
    dino=('vit-tiny', _vit),
)
_images = _recipes.find_images(os.environ['RECIPE_IMAGES'])
# The same one again for the same settings.
_folder = import_module('pathlib').Path(tempfile.gettempdir(), f'recipe_rates_{os.getuid()}')
_folder.mkdir(exist_ok=True)
_rates, methods = {}, {}
for _method, (_model, _small) in _networks.items():
    methods[_method] = {}
    for _config in ('baseline', 'selection'):
        _recipe = _recipes.choose_recipe(
            _images, _method, _model, epochs=_epochs, hard_views=_config == 'selection'
        )
        _cfg = _recipes.recipe_config(_recipe, _images, _folder)
        _prefix = 'model.algorithm.' if _config == 'selection' else 'model.'
        _cfg.merge_from_dict({_prefix + key: value for key, value in _small.items()})
        # Its lists of images are in the folder, whose name no run may depend on.
        _cfg.custom_hooks = [one for one in _cfg.custom_hooks if one.type != 'KNNHook']
        # Studies stretch schedules by epochs; these have the same values at each step.
        for _one in _cfg.param_scheduler:
            _one.update(by_epoch=True, convert_to_iter_based=True)
            _one.update({key: _one[key] // _recipe.steps_per_epoch for key in ('begin', 'end')})
        methods[_method][_config] = str(_folder / f'{_method}_{_config}.py')
        _cfg.dump(methods[_method][_config])
    _rates[_method] = _recipe.lr


def _times(factor, config='baseline'):
    """The recipe with its learning rate times a factor."""
    settings = {m: {'optim_wrapper.optimizer.lr': rate * factor} for m, rate in _rates.items()}
    # The predictor's own.
    settings['simsiam']['custom_hooks.0.lr'] = _rates['simsiam'] * factor
    return dict(config=config, per_method=settings)


arms = dict(recipe=_times(1), third=_times(1 / 3), triple=_times(3))
# Crops of whole patches.
methods['dino']['cfg_options'] = {'train_dataloader.dataset.pipeline.1.transforms.2.0.scale': 16}
runs = [dict(epochs=[_epochs], seeds=[seed]) for seed in (100, 101)]
_labeled = dict(type='CustomDataset', data_root=os.environ['RECIPE_IMAGES'])
evaluation = dict(
    knn=dict(
        k=20,
        interval=10,
        bank=dict(_labeled, data_prefix='train'),
        queries=dict(_labeled, data_prefix='val'),
    ),
    linear=dict(C=1.0),
)
