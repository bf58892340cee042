"""What networks that may start from ImageNet weights share: its colours, and the weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from celltally.errors import UserError

__all__ = ["ImageNetColours", "imagenet_weights"]

#: Mean and standard deviation of the red, green and blue of ImageNet's images.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ImageNetColours(nn.Module):
    """Normalise images as those that ImageNet weights were learned from.

    It adds nothing to a state dict: mean and deviation are constants, which no stored model
    need hold.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, values in (("mean", MEAN), ("deviation", DEVIATION)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """``(N, 3, H, W)`` → the same shape."""
        return (images - self.mean) / self.deviation


def imagenet_weights(name: str, start: str = "") -> dict[str, Tensor]:
    """Weights that torchvision's authors learned from ImageNet, fetched unless they are there.

    Parameters
    ----------
    name
        What torchvision calls the network: ``vgg16``.
    start
        How the names of the wanted tensors begin, which is left out of them: ``features.``
        for a VGG without its classifier.

    Raises
    ------
    UserError
        When they are not there and cannot be fetched.
    """
    from torchvision.models import get_model_weights  # seconds to import

    weights = get_model_weights(name)["IMAGENET1K_V1"]
    try:
        # A file from elsewhere: nothing but tensors is read of it.
        state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"the ImageNet weights of {name} cannot be fetched from {weights.url} ({reason}); "
            "connect to the internet, or train without 'pretrained'"
        ) from None
    return {key.removeprefix(start): value for key, value in state.items() if key.startswith(start)}
