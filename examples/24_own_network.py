"""A ResNet of one's own with marks where it may change, searched with the weights of one super-network."""

from torch import nn, relu

from archsearch import search
from archsearch.controllers import RegularizedEvolution
from archsearch.evaluators import OneShot
from archsearch.marking import choose
from archsearch.spaces import Marked


def conv(inputs, outputs, kernel, stride=1):
    layers = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2), nn.BatchNorm2d(outputs), nn.ReLU()
    return nn.Sequential(*layers)


class Block(nn.Module):
    """Two convolutions beside a shortcut; the first one's kernel and the channels between them may change."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        hidden = choose.width(8, 16, 32)
        self.conv1 = choose(k3=conv(inputs, hidden, 3, stride), k5=conv(inputs, hidden, 5, stride))
        self.conv2 = conv(hidden, outputs, 3)
        self.shortcut = nn.Identity() if inputs == outputs and stride == 1 else conv(inputs, outputs, 1, stride)

    def forward(self, x):
        return relu(self.conv2(self.conv1(x)) + self.shortcut(x))


class ResNet(nn.Module):
    """Of the first two blocks the second may be left out."""

    def __init__(self, in_channels=1, num_classes=10):
        super().__init__()
        self.layer1 = choose.depth(Block(in_channels, 16, 1), Block(16, 16, 1))
        self.layer2 = Block(16, 32, 2)
        self.head = nn.Linear(32, num_classes)

    def forward(self, images):
        return self.head(self.layer2(self.layer1(images)).mean((2, 3)))


if __name__ == "__main__":
    space, evaluator = Marked(ResNet), OneShot(task="digits", epochs=5)
    result = search(space, RegularizedEvolution(population_size=10), evaluator, trials=40, seed=0)
    print(f"of {space.size()}: {space.format(result.best.architecture)}, accuracy {result.best.score:.1f} %")
