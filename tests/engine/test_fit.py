import math

import pytest
import torch
from torch import nn

from napari_cas.config import LossConfig
from napari_cas.engine.fit import Learner, fit
from napari_cas.engine.sampling import Batch
from napari_cas.errors import CASError
from napari_cas.losses import index_regions


def learner(rate=0.05):
    torch.manual_seed(0)
    net = nn.Linear(4, 3)
    groups = [{"params": list(net.parameters()), "pace": 1.0}]
    return Learner(lambda x: net(x).T[None], torch.optim.AdamW(groups, lr=rate), rate), net


def batch(step):
    generator = torch.Generator().manual_seed(step)
    inputs = torch.randn(60, 4, generator=generator) * 0.2
    inputs[:30, 0] += 2
    return Batch(inputs, index_regions((torch.arange(60) // 30 + 1)[None]))


def test_it_learns_and_says_how():
    taught, net = learner()
    points = list(fit(taught, batch, LossConfig(), 60))
    assert [p.step for p in points] == list(range(1, 61))
    assert points[-1].total < points[0].total
    with torch.no_grad():
        labels = net(batch(99).inputs).argmax(1)
    assert len(set(labels[:30].tolist())) == len(set(labels[30:].tolist())) == 1
    assert labels[0] != labels[30]


def test_terms_add_up():
    taught, _ = learner()
    for point in fit(taught, batch, LossConfig(alpha=0.7), 3):
        assert math.isclose(
            point.total, 0.7 * point.uniformer + 0.3 * point.discriminator, rel_tol=1e-4
        )


def test_the_caller_stops_it():
    taught, _ = learner()
    for point in fit(taught, batch, LossConfig(), 1000):
        if point.step == 5:
            break
    assert taught.step == 5


def test_not_finite_goes_back_and_slows_down():
    taught, net = learner()
    start = net.weight.detach().clone()
    broken = {2}

    def sometimes(step):
        inputs, regions = batch(step)
        if step in broken:
            broken.clear()
            assert not torch.equal(net.weight, start)
            return Batch(inputs * math.nan, regions)
        return Batch(inputs, regions)

    points = list(fit(taught, sometimes, LossConfig(), 6))
    assert len(points) == 5
    assert taught.learning_rate == 0.025
    assert "learning rate 0.025" in taught.warnings[0]
    assert torch.isfinite(net.weight).all()


def test_never_finite_ends_with_a_sentence_and_the_good_state():
    taught, net = learner()
    start = net.weight.detach().clone()
    with pytest.raises(CASError, match=r"not finite.*Lower the learning rate"):
        list(
            fit(
                taught,
                lambda s: Batch(batch(s).inputs * math.inf, batch(s).regions),
                LossConfig(),
                9,
            )
        )
    assert torch.equal(net.weight, start)


def test_gradients_that_are_not_finite_change_nothing():
    taught, net = learner()
    before = net.weight.detach().clone()
    # |w|^0.5 at w = 0: zero itself, but its slope is infinite.
    taught.penalty = lambda step: (net.weight - before)[0, 0].abs().sqrt()
    with pytest.raises(CASError, match="not finite"):
        list(fit(taught, batch, LossConfig(), 10))
    assert torch.equal(net.weight, before)


def test_running_statistics_that_are_not_finite_go_back_too():
    taught, net = learner()
    norm = nn.BatchNorm1d(4)
    taught.buffers = tuple(norm.buffers())

    def module(x):
        if taught.step == 2 and not taught.warnings:  # what a far too large step leaves behind
            norm.running_var.fill_(math.inf)
        return net(norm(x)).T[None]

    taught.module = module
    points = list(fit(taught, batch, LossConfig(), 5))
    assert len(points) == 4
    assert any("not finite" in sentence for sentence in taught.warnings)
    assert torch.isfinite(norm.running_var).all()
    assert int(norm.num_batches_tracked) == 2  # those after going back to the round's start


def test_what_is_random_depends_on_seed_and_step_alone():
    def losses(state, seed):
        taught, net = learner()
        taught.seed = seed
        taught.module = lambda x: net(nn.functional.dropout(x, 0.5)).T[None]
        torch.manual_seed(state)
        before = torch.get_rng_state()
        found = [point.total for point in fit(taught, batch, LossConfig(), 4)]
        assert torch.equal(torch.get_rng_state(), before)
        return found

    assert losses(1, seed=0) == losses(2, seed=0) != losses(1, seed=1)


def test_an_optimiser_state_that_memory_did_not_suffice_for_is_dropped():
    taught, net = learner()
    list(fit(taught, batch, LossConfig(), 1))
    del taught.optimiser.state[net.bias]["exp_avg_sq"]
    taught.tidy()
    assert list(taught.optimiser.state) == [net.weight]
    assert net.weight.grad is None
    assert len(list(fit(taught, batch, LossConfig(), 1))) == 1
