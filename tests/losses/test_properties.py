"""What must hold for any input, tried on many."""

import hypothesis.strategies as st
import torch
from hypothesis import given, settings

from napari_cas.losses import cas_loss, cas_terms

DISCRIMINATORS = st.sampled_from(("squared", "log_overlap", "log_volume"))
UNIFORMERS = st.sampled_from(("squared", "cross_entropy"))
SEEDS = st.integers(0, 2**31 - 1)
SOME = settings(max_examples=25, deadline=None, derandomize=True)


@st.composite
def problems(draw):
    """Return logits (B, M, P), regions with at least one painted pixel and a choice of terms."""
    batch, channels = draw(st.integers(1, 3)), draw(st.integers(2, 6))
    pixels, ids = draw(st.integers(2, 30)), draw(st.integers(1, 9))
    torch.manual_seed(draw(SEEDS))
    scale = draw(st.sampled_from((0.1, 1.0, 5.0)))
    logits = scale * torch.randn(batch, channels, pixels, dtype=torch.float64)
    regions = torch.randint(0, ids + 1, (batch, pixels))
    regions[0, 0] = 1
    choice = {
        "alpha": draw(st.floats(0, 1)),
        "discriminator": draw(DISCRIMINATORS),
        "uniformer": draw(UNIFORMERS),
        "reduction": draw(st.sampled_from(("mean", "sum"))),
    }
    return logits.requires_grad_(), regions, choice


@SOME
@given(problems(), SEEDS)
def test_ids_mean_nothing(given_problem, seed):
    logits, regions, choice = given_problem
    torch.manual_seed(seed)
    renamed = regions.clone()
    for plane in range(len(regions)):
        names = torch.cat([torch.zeros(1, dtype=torch.int64), torch.randperm(50)[:9] + 1])
        renamed[plane] = names[regions[plane]]
    torch.testing.assert_close(
        cas_loss(logits, renamed, **choice), cas_loss(logits, regions, **choice)
    )


@SOME
@given(problems(), SEEDS)
def test_channels_are_interchangeable(given_problem, seed):
    logits, regions, choice = given_problem
    torch.manual_seed(seed)
    order = torch.randperm(logits.shape[1])
    swapped = logits.detach()[:, order].requires_grad_()
    one, other = cas_terms(logits, regions, **choice), cas_terms(swapped, regions, **choice)
    torch.testing.assert_close(other.total, one.total)
    torch.testing.assert_close(other.descriptors, one.descriptors[:, order])
    torch.testing.assert_close(
        torch.autograd.grad(other.total, swapped)[0],
        torch.autograd.grad(one.total, logits)[0][:, order],
    )


@SOME
@given(problems(), st.integers(2, 5))
def test_size_of_a_region_does_not_matter(given_problem, times):
    """A region whose pixels all appear several times weighs as much as before."""
    logits, regions, choice = given_problem
    first = regions == 1
    more = torch.where(first, regions, 0).repeat(1, times - 1)
    repeated = torch.cat([logits, logits.repeat(1, 1, times - 1)], dim=2)
    torch.testing.assert_close(
        cas_loss(repeated, torch.cat([regions, more], dim=1), **choice),
        cas_loss(logits, regions, **choice),
    )


@SOME
@given(problems())
def test_unpainted_pixels_neither_count_nor_learn(given_problem):
    logits, regions, choice = given_problem
    loss = cas_loss(logits, regions, **choice)
    gradient = torch.autograd.grad(loss, logits)[0].movedim(1, -1)
    assert gradient[regions == 0].abs().sum() == 0
    other = torch.where((regions == 0)[:, None], 7 * torch.randn_like(logits), logits)
    torch.testing.assert_close(cas_loss(other, regions, **choice), loss)


@SOME
@given(problems(), SEEDS)
def test_a_constant_added_to_all_logits_of_a_pixel_changes_nothing(given_problem, seed):
    logits, regions, choice = given_problem
    torch.manual_seed(seed)
    loss = cas_loss(logits, regions, **choice)
    shifted = logits + 3 * torch.randn(len(logits), 1, logits.shape[2], dtype=torch.float64)
    torch.testing.assert_close(cas_loss(shifted, regions, **choice), loss)
    gradient = torch.autograd.grad(loss, logits)[0]
    torch.testing.assert_close(gradient.sum(1), torch.zeros_like(gradient[:, 0]))


@SOME
@given(problems())
def test_terms_add_up(given_problem):
    logits, regions, choice = given_problem
    terms = cas_terms(logits, regions, **choice)
    alpha = choice["alpha"]
    torch.testing.assert_close(
        terms.total, alpha * terms.uniformer + (1 - alpha) * terms.discriminator
    )
    assert terms.uniformer >= -1e-12
    torch.testing.assert_close(
        terms.descriptors.sum(1), torch.ones(len(terms.descriptors), dtype=torch.float64)
    )
