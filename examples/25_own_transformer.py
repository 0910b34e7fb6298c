"""A small transformer whose classes stay as they are: rules mark what may change, by the names of its modules."""

import torch
from torch import nn

from archsearch import search
from archsearch.controllers import RegularizedEvolution
from archsearch.evaluators import OneShot, Training
from archsearch.marking import choose, mark
from archsearch.spaces import Marked


class Attention(nn.Module):
    """Each position attends to all."""

    def __init__(self, features, heads=4):
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(features, 3 * features), nn.Linear(features, features)

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).movedim(-3, 0).transpose(-2, -3)
        return self.out(nn.functional.scaled_dot_product_attention(q, k, v).transpose(-2, -3).flatten(-2))


class Residual(nn.Sequential):
    """Layers beside what they are given."""

    def forward(self, x):
        return x + super().forward(x)


def layer(features):
    mlp = nn.LayerNorm(features), nn.Linear(features, 64), nn.GELU(), nn.Linear(64, features)
    return nn.Sequential(Residual(nn.LayerNorm(features), Attention(features)), Residual(*mlp))


class Transformer(nn.Module):
    """On patches of 2x2 pixels."""

    def __init__(self, in_channels=1, image_size=8, num_classes=10, features=32):
        super().__init__()
        self.patches = nn.Conv2d(in_channels, features, 2, 2)
        self.positions = nn.Parameter(0.02 * torch.randn(image_size**2 // 4, features))
        self.layers = nn.Sequential(*[layer(features) for _ in range(4)])
        self.head = nn.Linear(features, num_classes)

    def forward(self, images):
        return self.head(self.layers(self.patches(images).flatten(2).mT + self.positions).mean(1))


def marked(num_classes=10):
    rules = {"layers": choose.depth, "layers.*.0.1": lambda attention: [attention, nn.Identity()]}
    return mark(Transformer(num_classes=num_classes), rules)


if __name__ == "__main__":
    space, evaluator = Marked(marked), OneShot(Training("digits", optimizer="adamw", learning_rate=0.004), epochs=12)
    result = search(space, RegularizedEvolution(population_size=10), evaluator, trials=40, seed=0)
    print(f"of {space.size()}: {space.format(result.best.architecture)}, accuracy {result.best.score:.1f} %")
