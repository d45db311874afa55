"""Everything that determines one training run, as one frozen record.

The defaults of :func:`paper_recipe` are the paper's; where the authors' published code differs, the
field's description says so.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from napari_cas.config import Discriminator, Uniformer  # noqa: TC001  # pydantic reads them

LossName = Literal["cas", "cross_entropy", "cace", "discriminative", "triplet", "magnet"]
NetworkName = Literal[
    "small",
    "fine",
    "fcn_resnet50",
    "fcn_resnet101",
    "deeplabv3_resnet50",
    "deeplabv3_resnet101",
    "lraspp_mobilenet_v3_large",
]

LOSS_TITLES: dict[LossName, str] = {
    "cas": "CAS",
    "cross_entropy": "cross-entropy",
    "cace": "CACE",
    "discriminative": "discriminative",
    "triplet": "triplet",
    "magnet": "magnet",
}


class Recipe(BaseModel):
    """One training run: data, labels, network, loss, budget and how it is computed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train_set: str = Field("DUTS-TR", description="A published set, or the name of a plain one.")
    train_images: int | None = Field(
        None, ge=2, description="Take this many at random; empty: all that are not for validation."
    )
    validation_images: int = Field(
        300, ge=2, description="Held out of the training set; chooses the salient channel, no more."
    )
    size: int = Field(256, ge=32, description="Side of the images; the paper: 256.")
    flip: float = Field(
        0.0, ge=0, le=1, description="Share of training images whose two ids are exchanged."
    )

    network: NetworkName = Field(
        "fcn_resnet101",
        description="The paper: FCN or DeepLabV3. 'small', 'fine': decoders on frozen features.",
    )
    weights: str = Field("none", description="'none', 'default' (COCO), or a local weight file.")
    channels: int = Field(2, ge=2, le=64, description="Softmax channels M; the authors' code: 2.")

    loss: LossName = "cas"
    alpha: float = Field(
        0.1, ge=0, le=1, description="Of Eq. 1; the paper 0.1, the authors' code 0.5."
    )
    discriminator: Discriminator = Field("squared", description="'squared' is Eq. 1.")
    uniformer: Uniformer = Field("squared", description="'squared' is Eq. 1.")

    epochs: int = Field(30, ge=1, description="Passes over the training images with `loss`.")
    pre_epochs: int = Field(
        0, ge=0, description="Passes with cross-entropy before ('pre-CAS' when above 0)."
    )
    batch_size: int = Field(16, ge=1)
    learning_rate: float = Field(
        1e-3, gt=0, description="Adam's; the paper 1e-3, the authors' code 1e-4."
    )
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="The paper names none; 'cosine' ends at zero."
    )
    mirror: bool = Field(False, description="Mirror each training image with probability one half.")
    seed: int = Field(0, ge=0, lt=2**31)

    precision: Literal["float32", "bf16"] = "float32"
    channels_last: bool = False
    compile: bool = False
    deterministic: bool = False

    @property
    def frozen(self) -> bool:
        """Whether the network is fed with frozen features instead of images."""
        return self.network in ("small", "fine")

    @property
    def key(self) -> str:
        """Name of the run: what it is, and a digest of every field that is not at its default."""
        chosen = self.model_dump_json(exclude_defaults=True)
        digest = hashlib.sha256(chosen.encode()).hexdigest()[:8]
        return f"{self.network}-{self.loss}-p{self.flip:g}-seed{self.seed}-{digest}"

    @property
    def title(self) -> str:
        """Name of the method in a table."""
        before = "pre-" if self.pre_epochs else ""
        return before + LOSS_TITLES[self.loss]


def paper_recipe(**changes: object) -> Recipe:
    """Return the paper's recipe (FCN-ResNet101 on DUTS-TR with Eq. 1) with some fields changed."""
    return Recipe.model_validate({"loss": "cas", **changes})


def small_recipe(**changes: object) -> Recipe:
    """Return the recipe for two CPU cores: a light decoder on frozen features, a subset of DUTS-TR.

    Everything but the size of things follows the paper: the same loss, α and optimiser, one budget
    for all losses.
    """
    small: dict[str, object] = {
        "network": "small",
        "weights": "default",
        "train_images": 1500,
        "epochs": 6,
        "batch_size": 16,
        "schedule": "cosine",
        "mirror": True,
    }
    return Recipe.model_validate(small | changes)
