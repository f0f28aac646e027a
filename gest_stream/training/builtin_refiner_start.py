"""A refiner's training that begins with weights which are there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from gest_stream.errors import WeightsError
from gest_stream.models.builtin import read_builtin
from gest_stream.models.refiner import RefinerNet, RefinerSpec, build_refiner


def read_start(path: Path, spec: RefinerSpec) -> dict[str, torch.Tensor]:
    """The weights of a refiner, as `refiner.folded` leaves them, for a network of `spec` on whatever grid.

    Raises:
        WeightsError: They are absent, damaged or of another network.
    """
    state, metadata = read_builtin(path)
    try:
        found = RefinerSpec.from_metadata(metadata.get("spec"))
        if (found.widths, found.depths) != (spec.widths, spec.depths):
            built, wanted = f"{found.widths} and {found.depths}", f"{spec.widths} and {spec.depths}"
            raise WeightsError(f"is built of {built}, not of {wanted}")
        build_refiner(state, spec)
    except WeightsError as exc:
        raise WeightsError(f"{path}: no refiner's training can begin with it ({exc}); give another --init") from exc
    return state


@torch.no_grad()
def start_with(net: RefinerNet, state: Mapping[str, torch.Tensor], inputs: torch.Tensor) -> None:
    """Give a network with normalisations the weights of one without: of `inputs` it computes the same.

    Of other inputs it does so where their means and variances are used that are kept here, as in measuring.

    Args:
        net: `RefinerNet(spec, normalised=True)`; in training mode afterwards.
        state: As `refiner.folded` leaves it.
        inputs: (B, 10, grid, grid) from whose means and variances each normalisation is undone.
    """
    names = {module: name for name, module in net.named_modules() if isinstance(module, nn.BatchNorm2d)}
    own = net.state_dict()
    net.load_state_dict(own | {name: value for name, value in state.items() if name in own})

    def undo(norm: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
        seen = given[0].transpose(0, 1).flatten(1)
        variance, mean = torch.var_mean(seen, dim=1, correction=0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.copy_(mean + state[names[norm].removesuffix("norm") + "conv.bias"].to(mean))

    hooks = [norm.register_forward_pre_hook(undo) for norm in names]
    try:
        net.train()
        net(inputs)
    finally:
        for hook in hooks:
            hook.remove()
