"""A vision transformer of one's own, elastic in depth, heads, hidden units and width: trained once, then searched."""

from torch import nn

from archsearch import search
from archsearch.controllers import ElitistEvolution
from archsearch.elastic import ElasticAttention, ElasticLayerNorm, ElasticLinear, ElasticMLP, Leading
from archsearch.evaluators import OneShot, Training
from archsearch.networks.network import Network
from archsearch.spaces import Choices

HEAD = 8
"""Features of a head of attention."""

DECISIONS = {  # options rise in size: the last ones are the largest network, of which all others are parts
    "features": [16, 24, 32],
    "depth": [1, 2, 3, 4],
    "heads": {"options": [1, 2, 4], "repeat": "depth"},
    "ratio": {"options": [1, 2, 4], "repeat": "depth"},  # of hidden units to features
}
LARGEST = {"features": 32, "depth": 4} | {f"heads.{i}": 4 for i in range(1, 5)} | {f"ratio.{i}": 4 for i in range(1, 5)}


class Block(nn.Module):
    """Attention and a perceptron, each behind a normalisation and beside a residual connection."""

    def __init__(self, features, heads, hidden):
        super().__init__()
        self.norm, self.attention = ElasticLayerNorm(features), ElasticAttention(features, heads, HEAD)
        self.norm2, self.mlp = ElasticLayerNorm(features), ElasticMLP(features, hidden, dimension="ratio")

    def forward(self, x, heads, hidden):
        x = x + self.attention(self.norm(x), heads)
        return x + self.mlp(self.norm2(x), hidden)


class VisionTransformer(Network):
    """A transformer on patches of 2x2 pixels; the mean of its outputs is classified."""

    def __init__(self, architecture, task, space):
        super().__init__(architecture)
        self.decode = space.decode
        sizes = LARGEST if architecture is None else space.decode(architecture)
        channels, height, width = task.input_shape
        features = sizes["features"]
        self.patches = nn.Unfold(2, stride=2)
        self.embedding = ElasticLinear(4 * channels, features)
        self.positions = Leading(height // 2 * (width // 2), features)
        layers = range(1, sizes["depth"] + 1)
        self.blocks = nn.ModuleList(
            [Block(features, sizes[f"heads.{i}"], features * sizes[f"ratio.{i}"]) for i in layers]
        )
        self.norm = ElasticLayerNorm(features)
        self.classifier = ElasticLinear(features, task.classes)

    def forward(self, images, architecture=None):
        sizes = self.decode(self.path(architecture))
        features = sizes["features"]
        x = self.embedding(self.patches(images).transpose(1, 2), features) + self.positions(features)
        for i in range(1, sizes["depth"] + 1):
            x = self.blocks[i - 1](x, sizes[f"heads.{i}"], features * sizes[f"ratio.{i}"])
        return self.classifier(self.norm(x).mean(1))


class ElasticViT(Choices):
    """Vision transformers of 1 to 4 layers."""

    def __init__(self):
        super().__init__(DECISIONS)

    def dimension(self, prefix):
        return self.label(prefix).partition(".")[0]

    def network(self, architecture, task):
        return VisionTransformer(architecture, task, self)

    def super_network(self, task):
        return VisionTransformer(None, task, self)


def main():
    training = Training("digits", optimizer="adamw", learning_rate=3e-3, weight_decay=0.01, warm_up=2)
    evaluator = OneShot(
        training, epochs=30, sampler="sandwich", distillation=0.5, stages=["depth", "heads", "ratio", "features"]
    )
    result = search(
        ElasticViT(),
        ElitistEvolution(population_size=20, parents=5, mutations=10, crossovers=10),
        evaluator,
        trials=60,
        limits={"flops": 250e3},
        seed=0,
        out="runs/elastic_vit",
    )
    print(f"{result.best_name}: {result.best.score:.1f} % with inherited weights")


if __name__ == "__main__":
    main()
