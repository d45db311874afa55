import urllib.error

import pytest
import torch
from torchvision.models import get_model

from napari_cas.config import ModelSpec
from napari_cas.errors import WeightsError
from napari_cas.models import WholeModel, create_model
from napari_cas.models.weights import offline_error


@torch.no_grad()
@pytest.mark.parametrize(
    "name",
    [
        "lraspp_mobilenet_v3_large",
        "fcn_resnet50",
        pytest.param("fcn_resnet101", marks=pytest.mark.slow),
        pytest.param("deeplabv3_resnet50", marks=pytest.mark.slow),
        pytest.param("deeplabv3_resnet101", marks=pytest.mark.slow),
    ],
)
def test_logits_at_full_resolution(name):
    model = create_model(ModelSpec(name=name, weights="none", channels=4), in_channels=1)
    assert model(torch.rand(1, 1, 40, 70) * 255).shape == (1, 4, 40, 70)
    groups = model.parameter_groups()
    assert sum(len(g["params"]) for g in groups) == len(list(model.parameters()))
    assert [g["pace"] for g in groups] == [1.0, 10.0]


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "training"),
    [
        ("lraspp_mobilenet_v3_large", False),
        ("lraspp_mobilenet_v3_large", True),
        ("deeplabv3_resnet50", True),
    ],
)
def test_up_to_256_pixels_it_is_the_published_network(name, training):
    """What the paper's training code takes, and every training crop of the default size."""
    options = {} if name.startswith("lraspp") else {"aux_loss": False}
    published = get_model(name, weights=None, weights_backbone=None, num_classes=4, **options)
    net = create_model(ModelSpec(name=name, weights="none", channels=4)).get_submodule("net")
    published.load_state_dict(net.state_dict())
    image = torch.randn(2, 3, 256, 256)
    found = []
    for module in (net, published):
        torch.manual_seed(0)  # of the dropout
        found.append(module.train(training)(image)["out"])
    assert torch.equal(*found)


@torch.no_grad()
@pytest.mark.slow
@pytest.mark.parametrize(("name", "reach"), [("fcn_resnet50", 228), ("deeplabv3_resnet50", 516)])
def test_the_reach_of_a_pixel_is_limited(name, reach):
    model = create_model(ModelSpec(name=name, weights="none", channels=4)).double()
    image = torch.rand(1, 3, 32, 1216, dtype=torch.float64) * 255
    before, found = model(image), []
    for column in (600, 607, 608):
        changed = image.clone()
        changed[..., column] = 1e5 * torch.rand(3, 32)
        moved = (model(changed) - before).abs().amax((0, 1, 2))
        # Sums of a window differ by rounding from what left it.
        where = (moved > 1e-10 * moved.max()).nonzero()[:, 0]
        found += [column - int(where[0]), int(where[-1]) - column]
    assert max(found) == reach


def test_local_weights_of_another_number_of_channels(tmp_path):
    name = "lraspp_mobilenet_v3_large"
    torch.manual_seed(1)
    net = get_model(name, weights=None, weights_backbone=None, num_classes=21)
    torch.save(net.state_dict(), tmp_path / "coco.pth")
    model = create_model(ModelSpec(name=name, weights=str(tmp_path / "coco.pth"), channels=4))
    assert isinstance(model, WholeModel)
    own = model.net.state_dict()
    assert torch.equal(own["backbone.0.0.weight"], net.state_dict()["backbone.0.0.weight"])
    assert own["classifier.low_classifier.weight"].shape[0] == 4


def test_pretrained_statistics_stay_and_random_ones_move(tmp_path):
    name = "lraspp_mobilenet_v3_large"
    fresh = create_model(ModelSpec(name=name, weights="none")).train()
    torch.save(fresh.net.state_dict(), tmp_path / "w.pth")
    loaded = create_model(ModelSpec(name=name, weights=str(tmp_path / "w.pth"))).train()
    norms = [m for m in loaded.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms
    assert not any(m.training for m in norms)
    assert any(m.training for m in fresh.modules() if isinstance(m, torch.nn.BatchNorm2d))


def test_no_network_is_said_with_what_to_do(tmp_path, monkeypatch):
    # torchvision's own download runs, against a hub that does not exist.
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match=r"could not be downloaded.*quick"):
        create_model(ModelSpec(name="lraspp_mobilenet_v3_large"))


@pytest.mark.parametrize(
    "reason", [OSError(-2, "Name or service not known"), "Name or service not known"]
)
def test_why_a_download_failed_is_said_in_words(reason):
    error = offline_error("fcn_resnet50", urllib.error.URLError(reason))
    assert "downloaded (Name or service not known). Connect" in str(error)


def test_offline_error_chains_its_reason():
    error = offline_error("fcn_resnet50", urllib.error.URLError("no route"))
    assert "no route" in str(error)
    assert "fcn_resnet50" in str(error)
