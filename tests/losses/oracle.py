"""The loss once more, as slow loops that follow the formulas letter by letter."""

import math

import torch


def planes_of(regions, planes):
    """Yield {id: list of (batch item, flat position)} of each plane, unpainted pixels left out."""
    flat = regions.reshape(regions.shape[0], -1)
    if planes is None:
        planes = torch.arange(flat.shape[0])
    planes = planes.reshape(flat.shape) if planes.ndim > 1 else planes[:, None].expand_as(flat)
    found = {}
    for b in range(flat.shape[0]):
        for p in range(flat.shape[1]):
            if flat[b, p] != 0:
                pixels = found.setdefault(int(planes[b, p]), {}).setdefault(int(flat[b, p]), [])
                pixels.append((b, p))
    return [found[plane] for plane in sorted(found)]


def naive_loss(logits, regions, *, planes=None, alpha, discriminator, uniformer, reduction):
    soft = logits.softmax(1).reshape(*logits.shape[:2], -1)
    per_plane = []
    for found in planes_of(regions, planes):
        vectors = [torch.stack([soft[b, :, p] for b, p in found[i]]) for i in sorted(found)]
        means = [v.mean(0) for v in vectors]
        inner = [naive_spread(v, m, uniformer) for v, m in zip(vectors, means, strict=True)]
        outer = naive_discriminator(means, discriminator, reduction)
        inner = sum(inner) / (len(inner) if reduction == "mean" else 1)
        per_plane.append(alpha * inner + (1 - alpha) * outer)
    total = sum(per_plane, logits.new_zeros(()))
    return total / max(len(per_plane), 1) if reduction == "mean" else total


def naive_spread(vectors, mean, uniformer):
    terms = []
    for vector in vectors:
        if uniformer == "squared":
            terms.append((vector - mean).pow(2).sum())
        else:
            terms.append(-(mean.detach() * vector.log()).sum())
    return sum(terms) / len(terms)


def naive_discriminator(means, discriminator, reduction):
    number, zero = len(means), means[0].new_zeros(())
    if number == 1:
        return zero
    if discriminator == "log_volume":
        gram = torch.stack([torch.stack([(a * b).sum() for a in means]) for b in means])
        volume = torch.logdet(gram + 1e-3 * torch.eye(number, dtype=gram.dtype))
        return -volume / (number if reduction == "mean" else 1)
    total = zero
    for i in range(number):
        for j in range(number):
            if i != j and discriminator == "squared":
                total = total - (means[i] - means[j]).pow(2).sum()
            elif i != j:
                total = total - (1 - (1 - 1e-3) * (means[i] * means[j]).sum()).log()
    return total / (number * (number - 1) if reduction == "mean" else 1)


def shared_evenly(number, channels):
    """Σ n_c² of ``number`` regions shared as evenly as can be."""
    low = number // channels
    rest = number - low * channels
    return rest * (low + 1) ** 2 + (channels - rest) * low**2


def log_volume_ends(number, channels, eps=1e-3):
    """Lowest and highest value of -logdet(Gram + eps I) for ``number`` descriptors."""
    highest = -((number - 1) * math.log(eps) + math.log(number / channels + eps))
    if number <= channels:
        return -number * math.log(1 + eps), highest
    lowest = channels * math.log(number / channels + eps) + (number - channels) * math.log(eps)
    return -lowest, highest
