"""A vision transformer of timm with a momentum teacher, and a pair loss of one's own (MoCo v3)."""

from copy import deepcopy

import timm
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision.ops import Conv2dNormActivation
from torchvision.transforms import v2

from hvs_mm import CandidateTransform, HardViews
from hvs_mm.datasets.shape_images import ShapeImages

SMALL = dict(img_size=32, patch_size=8, embed_dim=96, depth=2, num_heads=3)
# The class of an image is its shape: color says nothing.
gray = v2.Compose([v2.RandomGrayscale(1.0), v2.ToImage(), v2.ToDtype(torch.float32, scale=True),
                   v2.Normalize([0.5] * 3, [0.25] * 3)])  # fmt: skip
whole = v2.Compose([v2.CenterCrop(42), v2.Resize(32), gray])
crop = v2.Compose([v2.RandomResizedCrop(32, (0.2, 0.5)), v2.RandomHorizontalFlip(), gray])


def info_nce(query, key, temperature=0.2):
    """L[b, t, s]: query of view s and key of view t, among the keys of all samples c."""
    query, key = F.normalize(query, dim=-1), F.normalize(key, dim=-1)
    similarity = torch.einsum('bsd,ctd->btsc', query, key) / temperature
    here = torch.arange(len(query))
    return similarity.logsumexp(-1) - similarity[here, :, :, here]


@torch.no_grad()
def knn(backbone, k=10):
    """Accuracy of the k nearest neighbors in percent."""
    backbone.eval()
    images = [ShapeImages(split, 1024, whole) for split in ('train', 'val')]
    pairs = [next(iter(DataLoader(one, batch_size=1024))) for one in images]
    (bank, labels), (queries, expected) = [(F.normalize(backbone(x)), y) for x, y in pairs]
    nearest = labels[(queries @ bank.T).topk(k).indices].mode().values
    return 100 * (nearest == expected).float().mean().item()


def train(student, epochs=6):
    teacher = deepcopy(student.train())
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-3)
    hard = HardViews(info_nce, candidates=[4], keep=[2])
    images = ShapeImages('train', 1024, CandidateTransform(crop, 4))
    for _ in range(epochs):
        for batch, _ in DataLoader(images, batch_size=32, shuffle=True, drop_last=True):
            kept, _ = hard(student, batch.views, target=teacher)
            query = torch.stack([student(view) for view in kept], 1)
            with torch.no_grad():
                key = torch.stack([teacher(view) for view in kept], 1)
            loss = info_nce(query, key)[:, [0, 1], [1, 0]].mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            for mine, theirs in zip(teacher.parameters(), student.parameters()):
                mine.data.lerp_(theirs.data, 0.05)


torch.manual_seed(0)
backbone = timm.create_model('vit_tiny_patch16_224', num_classes=0, global_pool='avg', **SMALL)
# A convolutional stem learns in fewer steps than a linear one (arXiv 2106.14881).
stem = [Conv2dNormActivation(*channels, stride=2) for channels in ((3, 24), (24, 48), (48, 96))]
backbone.patch_embed.proj = nn.Sequential(*stem, nn.Conv2d(96, 96, 1))
head = nn.Sequential(nn.Linear(96, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Linear(256, 64),
                     nn.BatchNorm1d(64))  # fmt: skip
print(f'k-NN before: {knn(backbone):.1f} %')
train(nn.Sequential(backbone, head))
print(f'k-NN after: {knn(backbone):.1f} %')
