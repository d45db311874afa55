import itertools
import math
from functools import partial

import pytest
import torch

from napari_cas.errors import InputError
from napari_cas.losses import CASLoss, cas_loss, cas_terms, index_regions
from napari_cas.losses.baselines import assigned_cross_entropy

from .oracle import naive_loss, shared_evenly

DISCRIMINATORS = ("squared", "log_overlap", "log_volume")
UNIFORMERS = ("squared", "cross_entropy")
CHOICES = list(itertools.product(DISCRIMINATORS, UNIFORMERS, ("mean", "sum")))


def problem(space, batch=3, channels=4, ids=4, seed=0):
    """Return float64 logits and regions; the last plane has more regions than channels."""
    torch.manual_seed(seed)
    logits = torch.randn(batch, channels, *space, dtype=torch.float64, requires_grad=True)
    regions = torch.randint(0, ids, (batch, *space))
    regions[-1] = torch.randint(0, 3 * channels, space)
    return logits, regions


@pytest.mark.parametrize(("discriminator", "uniformer", "reduction"), CHOICES)
@pytest.mark.parametrize("space", [(19,), (5, 4), (2, 4, 3)])
def test_agrees_with_loops_over_pixels_and_pairs(space, discriminator, uniformer, reduction):
    logits, regions = problem(space)
    choice = {
        "alpha": 0.3,
        "discriminator": discriminator,
        "uniformer": uniformer,
        "reduction": reduction,
    }
    loss, naive = cas_loss(logits, regions, **choice), naive_loss(logits, regions, **choice)
    torch.testing.assert_close(loss, naive, rtol=1e-10, atol=1e-12)
    ours, theirs = (torch.autograd.grad(each, logits)[0] for each in (loss, naive))
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("discriminator", DISCRIMINATORS)
def test_gradient_agrees_with_finite_differences(discriminator):
    logits, regions = problem((3, 3), batch=2)
    choice = {"alpha": 0.4, "discriminator": discriminator, "reduction": "sum"}
    assert torch.autograd.gradcheck(lambda z: cas_loss(z, regions, **choice), (logits,))


def test_terms_and_descriptors_are_differentiable():
    logits, regions = problem((3, 3), batch=2)

    def terms(z):
        found = cas_terms(z, regions, alpha=0.4)
        return found.uniformer, found.discriminator, found.descriptors

    assert torch.autograd.gradcheck(terms, (logits,))


def test_gradient_is_equation_2():
    """Eq. 2: ``n_r dL/ds(x) = 2 α (s - ŝr) - 4 (1 - α) Σ_j (ŝr - ŝj)``, then softmax's Jacobian.

    The factor is 4 and not 2 because the pairs are ordered, so each appears twice.
    """
    alpha, number = 0.3, 3
    torch.manual_seed(0)
    logits = torch.randn(1, 5, 30, dtype=torch.float64, requires_grad=True)
    ids = torch.arange(30).remainder(number)[None] + 1
    loss = cas_loss(logits, ids, alpha=alpha, discriminator="squared", reduction="sum")
    ours = torch.autograd.grad(loss, logits)[0][0]
    soft = logits.detach().softmax(1)[0]
    means = torch.stack([soft[:, ids[0] == i].mean(1) for i in range(1, number + 1)])
    for x in range(30):
        own = means[ids[0, x] - 1]
        apart = sum(own - other for other in means)
        wrt_soft = (2 * alpha * (soft[:, x] - own) - 4 * (1 - alpha) * apart) / 10
        jacobian = torch.diag(soft[:, x]) - torch.outer(soft[:, x], soft[:, x])
        torch.testing.assert_close(ours[:, x], jacobian @ wrt_soft)


def test_hand_computed_value():
    """Two regions of two pixels and two channels; log 3 makes softmax (3/4, 1/4)."""
    a = math.log(3)
    logits = torch.tensor([[[a, 0.0, 0.0, 0.0], [0.0, 0.0, a, a]]])
    ids = torch.tensor([[1, 1, 2, 2]])
    # ŝ1 = (5/8, 3/8), ŝ2 = (1/4, 3/4); spreads 1/32 and 0; distance² 9/32.
    terms = cas_terms(logits, ids, alpha=0.1, discriminator="squared", reduction="sum")
    assert terms.uniformer.item() == pytest.approx(1 / 32)
    assert terms.discriminator.item() == pytest.approx(-2 * 9 / 32)
    assert terms.total.item() == pytest.approx(0.1 / 32 - 0.9 * 18 / 32)
    terms = cas_terms(logits, ids, alpha=0.1, discriminator="squared", reduction="mean")
    assert terms.total.item() == pytest.approx(0.1 / 64 - 0.9 * 9 / 32)


@pytest.mark.parametrize(("number", "channels"), [(2, 3), (3, 3), (7, 3)])
@pytest.mark.parametrize("alpha", [0.0, 0.2, 1.0])
def test_bounds_of_eq_1_hold_and_are_attained(number, channels, alpha):
    choice = {"alpha": alpha, "discriminator": "squared", "reduction": "sum"}
    lowest = -2 * (1 - alpha) * (number**2 - shared_evenly(number, channels))
    highest = alpha * number * (1 - 1 / channels)
    ids = torch.arange(number).repeat_interleave(channels)[None] + 1
    shared = (torch.arange(number) % channels).repeat_interleave(channels)
    mixed = torch.arange(channels).repeat(number)
    for channel, end in ((shared, lowest), (mixed, highest)):
        logits = 1e3 * torch.eye(channels, dtype=torch.float64)[channel].T[None]
        assert cas_loss(logits, ids, **choice).item() == pytest.approx(end)
    for seed in range(20):
        torch.manual_seed(seed)
        logits = 3 * torch.randn(1, channels, ids.numel(), dtype=torch.float64)
        assert lowest <= cas_loss(logits, ids, **choice).item() <= highest


@pytest.mark.parametrize("discriminator", DISCRIMINATORS)
def test_small_alpha_makes_regions_one_hot_or_at_least_disjoint(discriminator):
    torch.manual_seed(0)
    logits = torch.randn(1, 6, 60, dtype=torch.float64, requires_grad=True)
    regions = index_regions(torch.arange(60).remainder(3)[None] + 1)
    adam = torch.optim.Adam([logits], lr=0.3)
    for _ in range(300):
        adam.zero_grad()
        cas_loss(logits, regions, alpha=0.01, discriminator=discriminator).backward()
        adam.step()
    soft = cas_terms(logits, regions).descriptors.detach()
    if discriminator == "log_overlap":
        # Its optimum is any set of descriptors with nothing in common, sparse or not.
        assert (soft @ soft.T).triu(1).max() < 0.01
    else:
        assert soft.amax(1).min() > 0.99


@pytest.mark.parametrize("discriminator", DISCRIMINATORS)
@pytest.mark.parametrize("uniformer", UNIFORMERS)
def test_one_region_has_a_uniformer_only(discriminator, uniformer):
    logits, _ = problem((6,), batch=1)
    terms = cas_terms(
        logits,
        torch.ones(1, 6, dtype=torch.int64),
        discriminator=discriminator,
        uniformer=uniformer,
    )
    assert terms.discriminator.item() == 0
    assert terms.total.item() == pytest.approx(0.9 * terms.uniformer.item())
    assert terms.uniformer.item() > 0


@pytest.mark.parametrize("discriminator", DISCRIMINATORS)
@pytest.mark.parametrize("uniformer", UNIFORMERS)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_no_region_is_zero_with_zero_gradient(discriminator, uniformer, reduction):
    logits, _ = problem((6,), batch=2)
    ids = torch.zeros(2, 6, dtype=torch.int64)
    loss = cas_loss(
        logits, ids, discriminator=discriminator, uniformer=uniformer, reduction=reduction
    )
    assert loss.item() == 0
    assert torch.autograd.grad(loss, logits)[0].abs().sum() == 0


def test_one_channel_and_empty_batch():
    logits = torch.randn(2, 1, 4, requires_grad=True)
    loss = cas_loss(logits, torch.tensor([[1, 2, 1, 0], [1, 1, 1, 1]]), uniformer="cross_entropy")
    assert torch.autograd.grad(loss, logits)[0].abs().max() < 1e-7
    for space in ((4,), (4, 5), (0, 5)):
        batch = 0 if 0 not in space else 2
        nothing = torch.zeros(batch, 3, *space, requires_grad=True)
        loss = cas_loss(nothing, torch.zeros(batch, *space, dtype=torch.int64))
        assert loss.item() == 0
        assert torch.autograd.grad(loss, nothing)[0].shape == nothing.shape


@pytest.mark.parametrize("discriminator", DISCRIMINATORS)
def test_crops_of_one_plane_share_statistics(discriminator):
    logits, regions = problem((8, 6), batch=1)
    choice = {"discriminator": discriminator, "alpha": 0.5}
    whole = cas_loss(logits, regions, **choice)
    crops = torch.cat([logits[:, :, :4], logits[:, :, 4:]])
    ids = torch.cat([regions[:, :4], regions[:, 4:]])
    together = cas_loss(crops, ids, planes=torch.tensor([5, 5]), **choice)
    torch.testing.assert_close(together, whole)
    assert not torch.isclose(cas_loss(crops, ids, **choice), whole)


def test_a_list_of_pixels_of_many_planes_equals_the_planes():
    logits, regions = problem((4, 5), batch=3)
    planes = torch.arange(3)[:, None, None].expand(3, 4, 5)
    shuffle = torch.randperm(60)
    columns = logits.movedim(1, 0).reshape(1, 4, 60)[:, :, shuffle]
    listed = cas_loss(
        columns, regions.reshape(1, 60)[:, shuffle], planes=planes.reshape(1, 60)[:, shuffle]
    )
    torch.testing.assert_close(listed, cas_loss(logits, regions))


def test_prepared_regions_and_module_give_the_same():
    logits, regions = problem((4, 5))
    wanted = cas_loss(logits, regions, alpha=0.2, uniformer="cross_entropy", reduction="sum")
    module = CASLoss(alpha=0.2, uniformer="cross_entropy", reduction="sum")
    assert torch.equal(module(logits, regions), wanted)
    assert torch.equal(module(logits, index_regions(regions)), wanted)
    assert "alpha=0.2" in repr(module)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("uniformer", UNIFORMERS)
@pytest.mark.parametrize("discriminator", DISCRIMINATORS)
def test_half_precision_under_autocast(dtype, uniformer, discriminator):
    torch.manual_seed(0)
    features = torch.randn(2, 8, 10, 10)
    head = torch.nn.Conv2d(8, 5, 1)
    ids = torch.randint(0, 4, (2, 10, 10))
    choice = {"uniformer": uniformer, "discriminator": discriminator}
    with torch.autocast("cpu", dtype=dtype):
        logits = head(features)
        assert logits.dtype == dtype
        loss = cas_loss(logits, ids, **choice)
    assert loss.dtype == torch.float32
    # Only the logits themselves are rounded: the loss of the rounded logits comes out in full.
    full = logits.detach().float().requires_grad_()
    wanted = cas_loss(full, ids, **choice)
    torch.testing.assert_close(loss, wanted)
    ours = torch.autograd.grad(loss, logits)[0]
    assert ours.dtype == dtype
    theirs = torch.autograd.grad(wanted, full)[0].to(dtype)
    torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-5)


LOGITS, IDS = torch.zeros(2, 3, 4), torch.ones(2, 4, dtype=torch.int64)


@pytest.mark.parametrize(
    ("logits", "regions", "options", "message"),
    [
        (LOGITS.long(), IDS, {}, "floating-point.*torch.int64"),
        ([1.0], IDS, {}, "floating-point.*list"),
        (LOGITS.numpy(), IDS, {}, "floating-point tensor.*ndarray"),
        (LOGITS[0], IDS, {}, r"shape.*\(3, 4\)"),
        (LOGITS[:, :0], IDS, {}, r"shape.*\(2, 0, 4\)"),
        (LOGITS, IDS[:, :3], {}, r"do not fit.*\(2, 4\), got \(2, 3\)"),
        (LOGITS, index_regions(IDS[:1]), {}, r"do not fit.*\(2, 4\), got \(1, 4\)"),
        (LOGITS, IDS.float(), {}, "integer.*float32"),
        (LOGITS, IDS.tolist(), {}, "integer.*list"),
        (LOGITS, IDS.to("meta"), {}, "device.*cpu, got meta"),
        (LOGITS, -IDS, {}, "negative.*-1"),
        (LOGITS, IDS, {"alpha": 1.1}, "alpha.*1.1"),
        (LOGITS, IDS, {"alpha": -0.1}, "alpha.*-0.1"),
        (LOGITS, IDS, {"alpha": math.nan}, "alpha.*nan"),
        (LOGITS, IDS, {"alpha": None}, "alpha.*None"),
        (LOGITS, IDS, {"alpha": "0.5"}, "alpha.*'0.5'"),
        (LOGITS, IDS, {"alpha": torch.zeros(2)}, "alpha.*tensor"),
        (LOGITS, IDS, {"ignore_index": None}, "ignore_index.*None"),
        (LOGITS, IDS, {"ignore_index": 0.5}, "ignore_index.*0.5"),
        (LOGITS, IDS, {"discriminator": "cubed"}, "discriminator.*squared.*'cubed'"),
        (LOGITS, IDS, {"uniformer": "none"}, "uniformer.*cross_entropy.*'none'"),
        (LOGITS, IDS, {"reduction": "median"}, "reduction.*mean.*'median'"),
        (LOGITS, index_regions(IDS), {"planes": IDS[:, 0]}, "RegionIndex already"),
    ],
)
def test_bad_input_names_what_was_got(logits, regions, options, message):
    with pytest.raises(InputError, match=message):
        cas_loss(logits, regions, **options)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_non_finite_logits_are_refused_also_where_nothing_is_painted(value, dtype):
    logits = torch.zeros(2, 3, 4, dtype=dtype)
    logits[1, 2, 3] = value
    ids = torch.tensor([[1, 1, 2, 2], [1, 1, 2, 0]])
    with pytest.raises(InputError, match=r"not finite.*1 of 24"):
        cas_loss(logits, ids)


def test_large_finite_logits_whose_sum_overflows_are_accepted():
    logits = torch.full((1, 3, 4), 3e38)
    assert math.isfinite(cas_loss(logits, torch.tensor([[1, 1, 2, 2]])).item())


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_unchecked_non_finite_logits_end_in_nan_not_in_a_wrong_number(value):
    logits = torch.zeros(1, 3, 4)
    logits[0, 1, 2] = value
    loss = cas_loss(logits, torch.tensor([[1, 1, 2, 2]]), check_finite=False)
    assert math.isnan(loss.item())


def test_module_refuses_bad_settings_at_once():
    with pytest.raises(InputError, match="alpha"):
        CASLoss(alpha=2)


@pytest.mark.filterwarnings("ignore")  # of torch's own, on what it cannot compile
@pytest.mark.parametrize(
    "function", [partial(cas_loss, check_finite=False), assigned_cross_entropy]
)
def test_it_runs_between_two_graphs_in_what_is_compiled_but_not_as_one_graph(function):
    logits, regions = problem((5, 6))
    index = index_regions(regions)
    graphs = []

    def counted(graph, _):
        graphs.append(graph)
        return graph.forward

    def gradient(function):
        return torch.autograd.grad(function(logits), logits)[0]

    def loss(logits):
        return 2 * function(3 * logits, index)

    torch.compiler.reset()
    compiled = torch.compile(loss, backend=counted)
    for _ in range(3):
        assert torch.equal(gradient(compiled), gradient(loss))
    assert len(graphs) == 2  # what comes before and after
    torch.compiler.reset()
    with pytest.raises(Exception, match="disable"):  # torch's own, of a kind that varies
        gradient(torch.compile(loss, backend=counted, fullgraph=True))
