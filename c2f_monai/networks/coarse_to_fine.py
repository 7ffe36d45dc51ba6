# Copyright (c) c2f_monai contributors
# SPDX-License-Identifier: Apache-2.0
"""The networks of all views, and nothing else: slabs go in and come out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn as nn

from ..utils import (
    DEFAULT_SLAB,
    SlabSpec,
    View,
    add_slabs,
    default_slice_axes,
    extract_slabs,
    from_slices,
    pad_to_multiple,
    slice_axes_of_views,
    to_slices,
    window_count,
)
from .inference import prepare_for_inference
from .one_view import CoarseToFineView

__all__ = ["CoarseToFineNet"]


class CoarseToFineNet(nn.Module):
    """
    Coarse-to-fine networks of up to three views, for small targets in CT.

    The network never crops and knows no volume: :py:class:`c2f_monai.inferers.CoarseToFineInferer` cuts slabs, crops
    and fuses. Called with a volume it returns the fused COARSE probability, for consumers that know no such inferer.

    Based on: Zhou et al., "2D-Based Coarse-to-Fine Approaches for Small Target Segmentation in Abdominal CT Scans",
    2019.

    Args:
        coarse: makes one 2D network f_C from ``in_slices`` to ``out_channels * out_slices`` channels; called once for
            each view. None where the inferer is given an ``initial`` answer.
        fine: makes one f_F of the same form; None leaves the fine stage out.
        saliency: makes one g from ``out_channels * out_slices`` to ``in_slices`` channels; None is the step-wise
            approach.
        views: any non-empty subset of "sagittal", "coronal", "axial".
        out_channels: number K of target classes.
        slab: slices that go into the networks and that they answer for. Defaults to three and three.
        size_divisor: whole slices are zero-padded at their end to multiples of it when a volume is given.
        slabs_per_batch: slabs that run at once when a volume is given.
        slice_axcodes: for each view the axis codes of slices, rows and columns, for weights that were trained on slices
            of another orientation than RAS, such as ``{"axial": "SPL"}``. They become part of the state_dict, and what
            a checkpoint says replaces what is given here. None: slices of a RAS volume as it is.
        coarse_downsample: f_C works on pixels so many times as large as those of f_F: it sees whole slices, and the
            slice is where the time goes. Defaults to 1, the method.
        shared_encoder: f_C and f_F of a view have one encoder, with one set of batch norm statistics, which whole
            slices and crops move alike, and decoders of their own; both must have a module named ``encoder``. Defaults
            to False, the method.

    Raises:
        TypeError: when ``slab`` is no :py:class:`c2f_monai.utils.SlabSpec`, or a network is given that is made already.
        ValueError: for unknown, repeated or no views, neither a coarse nor a fine network, counts below 1,
            ``slice_axcodes`` that are no axis codes or miss a view, or ``shared_encoder`` of networks that have none
            alike.

    Example:
        >>> import torch
        >>> from functools import partial
        >>> from c2f_monai.networks import CoarseToFineNet, FCN8s, SaliencyTransform
        >>> small = partial(FCN8s, width=4, fc_channels=8, fc_kernel_size=3)
        >>> network = CoarseToFineNet(small, small, SaliencyTransform, views=["axial"])
        >>> network(torch.rand(2, 3, 32, 48), "coarse", "axial").shape
        torch.Size([2, 3, 32, 48])
    """

    # What a script keeps of the slab spec are the two numbers.
    __jit_unused_properties__ = ["slab"]

    def __init__(
        self,
        coarse: Callable[[], nn.Module] | None,
        fine: Callable[[], nn.Module] | None = None,
        saliency: Callable[[], nn.Module] | None = None,
        views: Sequence[str] = tuple(View),
        out_channels: int = 1,
        slab: SlabSpec = DEFAULT_SLAB,
        size_divisor: int = 16,
        slabs_per_batch: int = 16,
        slice_axcodes: Mapping[str, str] | None = None,
        coarse_downsample: int = 1,
        shared_encoder: bool = False,
    ) -> None:
        super().__init__()
        names = [View(view).value for view in views]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"views must be different names out of {[v.value for v in View]}, got {list(views)}.")
        for name, value in (
            ("out_channels", out_channels),
            ("size_divisor", size_divisor),
            ("slabs_per_batch", slabs_per_batch),
            ("coarse_downsample", coarse_downsample),
        ):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")
        if not isinstance(slab, SlabSpec):
            raise TypeError(f"slab must be a SlabSpec, such as SlabSpec(in_slices=3, out_slices=3), got {slab!r}.")
        for name, maker in (("coarse", coarse), ("fine", fine), ("saliency", saliency)):
            if isinstance(maker, nn.Module):
                kind = type(maker).__name__
                raise TypeError(f"{name} must make a network when called, as lambda: network does, got a {kind}.")
        if coarse is None and fine is None:
            raise ValueError("coarse and fine are both None: give at least one network.")
        if saliency is not None and fine is None:
            raise ValueError("saliency needs a fine network: give fine, or leave saliency out.")
        axes = {} if slice_axcodes is None else slice_axes_of_views(slice_axcodes, names)
        self.view_names = names
        self.has_coarse: bool = coarse is not None
        self.has_fine: bool = fine is not None
        self.has_saliency: bool = saliency is not None
        self.out_channels = out_channels
        self.in_slices, self.out_slices = slab.in_slices, slab.out_slices
        self.size_divisor = size_divisor
        self.slabs_per_batch = slabs_per_batch
        self.default_axes = {name: default_slice_axes(View(name)) for name in names}
        self.views = nn.ModuleDict(
            {
                name: CoarseToFineView(
                    coarse, fine, saliency, axes.get(name), coarse_downsample, size_divisor, shared_encoder
                )
                for name in names
            }
        )
        #: Pixels around its own that a saliency weight depends on, so that testing runs g near the crops only; -1 where
        #: g does not say it (``reach``).
        self.saliency_reach = int(getattr(self.views[names[0]].saliency, "reach", -1))

    @property
    def slab(self) -> SlabSpec:
        """How many slices go in and come out."""
        return SlabSpec(self.in_slices, self.out_slices)

    def for_inference(self, amp_dtype: torch.dtype | None = None) -> nn.Module:
        """The network that inferers run: it computes the same with less work, and may share weights with this one.

        Batch norms become part of the convolutions before them, and what is used as a matrix takes the dtype of
        autocast. A network without this method is run as it is.

        Args:
            amp_dtype: dtype of the autocast in which it will run; None for no autocast.

        Returns:
            a changed copy, or this network where there is nothing to do; it is never changed itself.
        """
        return prepare_for_inference(self, amp_dtype)

    def forward(self, inputs: torch.Tensor, part: str = "", view: str = "") -> torch.Tensor:
        """
        Args:
            inputs: slabs or crops (B, in_slices, h, w) in [0, 1] for the parts "coarse" and "fine"; probabilities
                (B, K * out_slices, h, w) for "saliency"; without a part a volume (B, 1, H, W, D) in [0, 1], RAS.
            part: "coarse", "saliency", "fine", or empty for a volume.
            view: name of one of this network's views; empty for a volume.

        Returns:
            (B, K * out_slices, h, w) logits, class-major; for "saliency" (B, in_slices, h, w) weights; for a volume
            (B, K, H, W, D), the mean of the views' coarse probabilities: the coarse answer only.

        Raises:
            TypeError: for a network that returns something else than a tensor, such as a dict or a list of maps.
            ValueError: for an unknown part or view, or a part whose network gives another number of channels or pixels.
        """
        if part == "":
            return self._coarse_volume(inputs)
        for name, network in self.views.items():
            if name == view:
                output: torch.Tensor = network(inputs, part)
                if not torch.jit.is_scripting():
                    _check_tensor(output, part)
                expected = self.in_slices if part == "saliency" else self.out_channels * self.out_slices
                if output.shape[1] != expected:
                    raise ValueError(
                        f"the {part} network must give {expected} channels, got {output.shape[1]}: "
                        "set its out_channels to the slab's in_slices for saliency, else to classes times out_slices."
                    )
                if output.shape[2:] != inputs.shape[2:]:
                    raise ValueError(
                        f"the {part} network must give maps of its input's height and width, got "
                        f"{output.shape[2]}x{output.shape[3]} for {inputs.shape[2]}x{inputs.shape[3]} pixels."
                    )
                return output
        raise ValueError(f"view must be one of {self.view_names}, got '" + view + "'.")

    def _coarse_volume(self, volume: torch.Tensor) -> torch.Tensor:
        if volume.dim() != 5 or volume.shape[1] != 1:
            raise ValueError(f"a volume must have shape (B, 1, H, W, D), got {list(volume.shape)}.")
        fused = torch.zeros(
            [volume.shape[0], self.out_channels, volume.shape[2], volume.shape[3], volume.shape[4]],
            device=volume.device,
        )
        for name, network in self.views.items():
            axes = network.axes(self.default_axes[name])  # type: ignore[operator]
            for case in range(volume.shape[0]):
                slices = to_slices(volume[case, 0], axes)
                total = torch.zeros(
                    [self.out_channels, slices.shape[0], slices.shape[1], slices.shape[2]], device=volume.device
                )
                for start in range(0, slices.shape[0], self.slabs_per_batch):
                    end = min(start + self.slabs_per_batch, slices.shape[0])
                    centers = torch.arange(start, end, device=volume.device)
                    slabs = pad_to_multiple(extract_slabs(slices, centers, self.in_slices), self.size_divisor)
                    logits = network(slabs, "coarse")[:, :, : slices.shape[1], : slices.shape[2]]
                    add_slabs(total, torch.sigmoid(logits.float()), centers, self.out_slices)
                count = window_count(slices.shape[0], self.out_slices, volume.device)
                fused[case] += from_slices(total / count[None, :, None, None], axes)
        return fused / len(self.views)


def _check_tensor(output: object, part: str) -> None:
    if not isinstance(output, torch.Tensor):
        raise TypeError(
            f"the {part} network must return a tensor of logits, got a {type(output).__name__}: wrap it in a module "
            "whose forward returns the map of full resolution."
        )
