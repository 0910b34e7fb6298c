"""Passes that leave a network as it is: batch statistics, dropping, and whether it is being trained."""

from __future__ import annotations

from torch import nn

from archsearch.networks.network import Network


def batch_norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    """All its layers of batch normalisation."""
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


class Undisturbed:
    """Inside, passes leave a network's statistics, dropping and mode as they are.

    Args:
        network: In training mode.
        batch: Whether batch normalisation uses the statistics of the batch.
    """

    def __init__(self, network: Network, batch: bool) -> None:
        self.network = network
        self.batch = batch

    def __enter__(self) -> None:
        self.dropped, self.training = (self.network.drop_path, self.network.dropout), self.network.training
        self.layers = [(layer, layer.track_running_stats) for layer in batch_norms(self.network)]
        self.network.drop_path = self.network.dropout = 0.0
        self.network.train(self.batch)
        for layer, _ in self.layers:
            layer.track_running_stats = not self.batch

    def __exit__(self, *_: object) -> None:
        self.network.drop_path, self.network.dropout = self.dropped
        self.network.train(self.training)
        for layer, tracks in self.layers:
            layer.track_running_stats = tracks
