"""How images are dealt out in batches: never one alone, since batch normalisation has no statistics of one image."""

from __future__ import annotations

import torch

from archsearch.networks.network import Network


def batches_of(images: int, batch_size: int) -> int:
    """Batches in an epoch that deals out its images evenly, none of which holds one image alone if there are more.

    The images of an epoch are dealt out by ``torch.tensor_split``: 899 images in batches of up to 32 make 29 batches of
    31. Batches of up to 2 of an odd number of images would leave one alone: then one of them has 3. A ``batch_size`` of
    1 means what it says.

    Args:
        images: >= 1.
        batch_size: Images in a batch at most, >= 1.
    """
    count = -(-images // batch_size)
    return max(1, images // 2) if batch_size > 1 and images // count < 2 else count


def evaluation_batches(images: int, batch_size: int) -> list[int]:
    """Sizes of batches, one after the other, that are all full but the last; one image left over joins the one before.

    Args:
        images: >= 0.
        batch_size: Images in a batch, >= 1; of the last, one more at most.
    """
    full, left = divmod(images, batch_size)
    sizes = [batch_size] * full
    if left == 1 and full:
        sizes[-1] += 1
    elif left:
        sizes.append(left)
    return sizes


def normalises_one(network: Network, input_shape: tuple[int, int, int]) -> bool:
    """Whether a network can train on one image: all its batch normalisations average over more than one value.

    Args:
        network: On the meta device: nothing is computed.
        input_shape: Channels, height and width of an image.
    """
    network.train()
    try:
        with torch.no_grad():
            network.with_auxiliary(torch.empty(1, *input_shape, device="meta"))
    except ValueError:
        return False
    return True
