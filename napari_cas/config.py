"""Settings: one frozen definition feeds the form, the command line and the provenance record.

Every field has a title (the form's label), a description (the tooltip and ``--help`` text) and a
range that is checked on construction. Nothing here imports torch.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

ModelName = Literal[
    "quick",
    "lraspp_mobilenet_v3_large",
    "fcn_resnet50",
    "fcn_resnet101",
    "deeplabv3_resnet50",
    "deeplabv3_resnet101",
]
Enlargement = Literal[1, 2, 4]
Discriminator = Literal["squared", "log_overlap", "log_volume"]
Uniformer = Literal["squared", "cross_entropy"]
DeviceName = Literal["auto", "cpu", "cuda", "mps"]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelSpec(_Settings):
    """Which network, with how many softmax channels, from which weights."""

    name: ModelName = Field(
        "quick",
        title="Network",
        description="'quick' trains a small head on frozen features and answers within a second; "
        "the others are fine-tuned whole.",
    )
    channels: int = Field(
        16,
        ge=2,
        le=64,
        title="Channels",
        description="Softmax channels M: at most this many kinds of appearance are told apart.",
    )
    weights: str = Field(
        "default",
        title="Weights",
        description="'default' (pretrained), 'none' (random) or the path of a local weight file.",
    )
    context_planes: int = Field(
        0,
        ge=0,
        le=2,
        title="Context planes",
        description="Neighbouring planes on each side that the network looks at, too (2.5-D): "
        "along depth, or along time where there is no depth.",
    )
    enlarge: Enlargement = Field(
        1,
        title="Enlarge images",
        description="How many times larger the quick network sees images: 2 or 4 for things of a "
        "few pixels and for sharp borders between textures. It sees less around each pixel, and "
        "looks at 4 or 16 times as many.",
    )

    @property
    def stacked_planes(self) -> int:
        """Planes that are one input: whole networks take neighbours as further channels."""
        return 1 if self.name == "quick" else 2 * self.context_planes + 1


class LossConfig(_Settings):
    """The class-agnostic segmentation loss (Eq. 1) and its variants."""

    alpha: float = Field(
        0.9,
        ge=0,
        le=1,
        title="Alpha",
        description="Weight of the uniformer; 1 − alpha weighs the discriminator (Eq. 1).",
    )
    discriminator: Discriminator = Field(
        "log_volume",
        title="Discriminator",
        description="How different regions are pushed apart; 'squared' is the paper's.",
    )
    uniformer: Uniformer = Field(
        "cross_entropy",
        title="Uniformer",
        description="How pixels of one region are pulled together; 'squared' is the paper's.",
    )


class FitConfig(_Settings):
    """How long and how fast to train."""

    learning_rate: float | None = Field(
        None,
        gt=0,
        le=1000,
        title="Learning rate",
        description="Adam's step size; empty: the network's own default.",
    )
    round_seconds: float = Field(
        0.8,
        gt=0,
        le=600,
        title="Seconds per round",
        description="Optimiser time before each new prediction.",
    )
    max_rounds: int = Field(
        12,
        ge=1,
        le=10_000,
        title="Rounds at most",
        description="Stop here if not converged before.",
    )
    crop_size: int = Field(
        256,
        ge=64,
        le=2048,
        multiple_of=32,
        title="Crop size",
        description="Side of the square training crops of whole networks, in pixels.",
    )
    batch_size: int = Field(
        2, ge=1, le=256, title="Batch size", description="Crops per step of whole networks."
    )


class PredictConfig(_Settings):
    """How images are cut into tiles for prediction."""

    tile_size: int = Field(
        512,
        ge=128,
        le=4096,
        multiple_of=64,
        title="Tile size",
        description="Side of a tile, in pixels.",
    )
    follow_edges: bool = Field(
        True,
        title="Follow edges",
        description="Smooth the quick network's probabilities within areas, not across edges.",
    )
    skip_below: float = Field(
        0.0,
        ge=0,
        le=100,
        title="Skip empty below",
        description="Tiles whose brightness varies by less than this percentage of the image's "
        "range are empty background and get no label; 0: every tile is predicted.",
    )

    @property
    def note(self) -> str:
        """The settings that labels depend on, as a project notes them; empty for the usual ones."""
        usual = PredictConfig()
        return " ".join(
            f"{name}={getattr(self, name)}"
            for name in ("follow_edges", "skip_below")
            if getattr(self, name) != getattr(usual, name)
        )


class Config(_Settings):
    """Everything that determines a fine-tuned model, apart from the data."""

    model: ModelSpec = ModelSpec()
    loss: LossConfig = LossConfig()
    fit: FitConfig = FitConfig()
    predict: PredictConfig = PredictConfig()
    device: DeviceName = Field(
        "auto", title="Device", description="'auto' takes CUDA, then Apple's MPS, then the CPU."
    )
    seed: int = Field(0, ge=0, lt=2**31, title="Seed", description="Seed of all random choices.")


class ClusterSettings(_Settings):
    """Where rounds and tiles run when not on this machine: no part of a project."""

    scheduler: str = Field(
        "",
        title="Scheduler",
        description="Address of a Dask scheduler, such as tcp://host:8786; empty: this machine.",
    )
    resources: str = Field(
        "",
        title="Resources",
        description="What a worker there must offer, such as GPU=1.",
    )
    tls_ca_file: str = Field(
        "",
        title="TLS authority",
        description="Certificate of the authority that signed the others, for tls:// addresses; "
        "empty: as Dask's own configuration says.",
    )
    tls_cert: str = Field("", title="TLS certificate", description="Certificate shown there.")
    tls_key: str = Field("", title="TLS key", description="Key of the certificate.")
