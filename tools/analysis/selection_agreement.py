"""What cheaper selection costs and what it keeps of the full choice, and how hard selectors choose.

Draws candidate views of training images, lets the model of a checkpoint select from them in full
and with cheaper variants, and compares the choices:

- cost: operations of a training step with this selection over those of one without (matrix products
  and convolutions; what a lower precision saves does not show, tools/benchmarks/step.py times it),
- same: share of images that keep the same views as with the full selection,
- retained: share of the gap between the mean score of all combinations and the full choice's score
  which the variant's choice still has, by the full selection's scores; in brackets its 95 %
  confidence interval over images. 1 is the full choice, 0 a random one.

A schedule of interval=4 or prob=0.25 keeps the share of the choices that it makes: a quarter.

A second table has the realized hardness of selectors, 1 for the hardest combination and 0 for a
random one, by the pair losses of the full selection, also for selectors that go by the overlap or
the colors of crops.
"""

from __future__ import annotations

import argparse
import ast
from copy import deepcopy
from typing import Any

import torch
from _agreement import agreement_with
from _dials import realized_hardness
from _example_batches import draw_example_batches, whole_batches
from _trained_run import load_run
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from rich.console import Console
from rich.table import Table

from hvs_mm.engine import add_example_options, one_line_errors, tool_parser, write_json
from hvs_mm.evaluation import count_operations
from hvs_mm.models import HVSAlgorithm, SelectionPass, SelectionSchedule, is_random
from hvs_mm.models.cheap_pass.selection_pass import PASS_SETTINGS
from hvs_mm.selection import HardestSelector
from hvs_mm.selection.record import Selection, join_selections
from hvs_mm.selection.recorded_values import view_records
from hvs_mm.visualization import select_examples

#: Options of a variant: the keys of ``selection_pass``.
_OPTIONS = PASS_SETTINGS
#: The full choice once more, with other draws of stochastic depth and dropout.
_AGAIN = 'full, other noise'
#: What is compared by default; what the backbone does not have is left out.
_VARIANTS = (
    {'online': 'local'},
    {'dtype': 'bfloat16'},
    {'scale': 0.75},
    {'scale': 0.5},
    {'scale': 0.35},
    {'tokens': 0.5},
    {'tokens': 0.25},
    {'depth': 1},
    {'depth': 2},
    {'depth': 3},
    {'depth': 6},
)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument(
        '--variant',
        dest='variants',
        nargs='+',
        action='append',
        metavar='OPTION=VALUE',
        help=f'options to set together, of {", ".join(_OPTIONS)}; may be given several times',
    )
    parser.add_argument('--json', metavar='FILE', help='write the numbers there')
    add_example_options(parser, images=256)
    return parser.parse_args(argv)


def read_variant(texts: list[str]) -> dict[str, Any]:
    """Read ``OPTION=VALUE`` texts.

    Raises:
        ValueError: If one is of another form or names another option.
    """
    variant = {}
    for text in texts:
        name, is_there, value = text.partition('=')
        if not is_there or name not in _OPTIONS:
            raise ValueError(
                f'--variant {text}: it must be OPTION=VALUE with an OPTION of {sorted(_OPTIONS)}.'
            )
        try:
            variant[name] = ast.literal_eval(value)
        except (SyntaxError, ValueError):
            variant[name] = value
    return variant


def build_passes(model: HVSAlgorithm, asked: list[list[str]] | None) -> dict[str, SelectionPass]:
    """The passes to compare, by their names; the full one first.

    Raises:
        ValueError: If an option that was asked for does not fit the model.
    """
    passes = {'full': SelectionPass(model.algorithm, model.pair_loss)}
    if is_random(model.algorithm.backbone):
        # With dropout or stochastic depth the full choice is uncertain, too.
        passes[_AGAIN] = passes['full']
    for options in [read_variant(texts) for texts in asked or []] or _VARIANTS:
        name = ', '.join(f'{name}={value}' for name, value in options.items())
        try:
            passes[name] = SelectionPass(model.algorithm, model.pair_loss, **options)
        except ValueError:
            # The default variants include those of other backbones.
            if asked:
                raise
    return passes


def compare(
    model: HVSAlgorithm,
    passes: dict[str, SelectionPass],
    dataset: BaseDataset,
    cfg: Config,
    args: argparse.Namespace,
) -> tuple[list[dict[str, Any]], Selection, dict[str, torch.Tensor]]:
    """One row per variant, in batches of the training's size.

    Besides these the full selection, and the ``boxes`` and ``colors`` of its views.
    """
    batch_size = args.batch_size or cfg.train_dataloader.batch_size
    number = whole_batches(dataset, args.images, batch_size)
    found: dict[str, list[Selection]] = {name: [] for name in passes}
    samples: list[Any] = []
    for seed, examples in draw_example_batches(dataset, number, batch_size, args.seed):
        for name, model.selection_pass in passes.items():
            # Other tokens, and other noise, in every batch; the same noise for all passes but one.
            found[name].append(select_examples(model, examples, seed + (name == _AGAIN)))
        samples += examples.data_samples
    full = join_selections(found['full'])
    rows = []
    for name, model.selection_pass in passes.items():
        indices = join_selections(found[name]).indices
        agreement = agreement_with(full, indices, model.pair_loss.score_weights(model.algorithm))
        rows.append({'variant': name, 'cost': cost_of(model, examples), **vars(agreement)})
    records = view_records(samples, 'boxes', 'colors')
    device = full.indices.device
    return rows, full, {name: torch.from_numpy(r).to(device) for name, r in records.items()}


def cost_of(model: HVSAlgorithm, examples: Any) -> float:
    """Operations of a step with selection over those of a step without."""
    model = deepcopy(model)
    data = model.data_preprocessor(deepcopy(examples.batch()))
    views, samples = data['inputs'], data['data_samples']
    groups = model.groups(views)
    first = groups.first_views()
    known = model.pair_loss.target_inputs(model.algorithm, views, groups.num_targets, samples)
    targets = torch.tensor([first[: groups.num_kept_targets]]).expand(len(samples), -1)
    known = model.pair_loss.of_kept(known, targets.to(views[0].device), groups)
    kept = [views[view] for view in first]

    def step(losses: Any) -> None:
        model.parse_losses(losses)[0].backward()

    vanilla = count_operations(lambda: step(model.algorithm.loss(kept, samples, **known)))
    return count_operations(lambda: step(model.loss(views, samples))) / vanilla


def show(rows: list[dict[str, Any]], dials: list[dict[str, Any]]) -> None:
    table = Table('selection', 'cost', 'same views', 'retained')
    for row in rows:
        cost, retained = f'{row["cost"]:.3f}', _with_interval(row, 'retained')
        table.add_row(row['variant'], cost, f'{row["same"]:.1%}', retained)
    Console().print(table)
    table = Table('selector', 'same views', 'hardness')
    for row in dials:
        table.add_row(row['selector'], f'{row["same"]:.1%}', _with_interval(row, 'hardness'))
    Console().print(table)
    print(f'{rows[0]["images"]} images; brackets: 95 % confidence over images')


def _with_interval(row: dict[str, Any], name: str) -> str:
    low, high = (row[name] + sign * row[f'{name}_error'] for sign in (-1, 1))
    return f'{row[name]:.3f} [{low:.3f}, {high:.3f}]'


def analyze(args: argparse.Namespace) -> None:
    cfg, model, dataset = load_run(args)
    model.train()
    # When a config selects, and how hard, has no part in what passes agree on.
    model.schedule = SelectionSchedule()
    configured, model.selector = model.selector, HardestSelector()
    rows, full, records = compare(model, build_passes(model, args.variants), dataset, cfg, args)
    weights = model.pair_loss.score_weights(model.algorithm)
    dials = realized_hardness(full, weights, configured, records, args.seed)
    show(rows, dials)
    if args.json:
        content = {'config': args.config, 'checkpoint': args.checkpoint, 'seed': args.seed}
        write_json(args.json, {**content, 'variants': rows, 'selectors': dials})


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    with one_line_errors():
        analyze(args)


if __name__ == '__main__':
    main()
