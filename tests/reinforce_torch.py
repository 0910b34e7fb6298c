"""What the policies of REINFORCE descend, written with PyTorch's own distributions, for the tests of its gradients."""

import torch
from torch.distributions import Categorical, kl_divergence

from archsearch.controllers.policy_loss import PolicyLoss


def terms(raw: torch.Tensor, option: int, position: int, loss: PolicyLoss) -> tuple[torch.Tensor, torch.Tensor]:
    """Of one decision, from what the network gave for its options: log-probability, and what else the loss rewards."""
    logits = raw / loss.temperature
    choice = Categorical(logits=logits if loss.bound is None else loss.bound * torch.tanh(logits))
    extra = loss.entropy_weight * choice.entropy()
    if position in loss.skips and loss.skip_prior is not None:
        prior = Categorical(probs=torch.tensor([1 - loss.skip_prior, loss.skip_prior], dtype=raw.dtype))
        extra = extra - loss.skip_weight * kl_divergence(choice, prior)
    return choice.log_prob(torch.tensor(option)), extra
