"""Run by test_fused.py: compile the kernels to machine code for GPUs that are not here."""

import re
import subprocess
import tempfile

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from napari_cas.losses import fused

TYPES = {"index": "*i32", "sums": "*fp64", "table": "*fp32"}
# Triton makes arguments equal to one constants.
CONTIGUOUS = ("pixel_stride", "grad_pixel_stride")
CHANNELS_LAST = ("channel_stride", "grad_channel_stride")
RELAXED = "atom.global.gpu.relaxed.add.f64"


def compile_for(kernel, capability, channels, dtype, logarithms, wide, ones=CONTIGUOUS):
    width, block = fused._sizes(channels)
    fixed = {
        "logarithms": logarithms,
        "rounds": fused._ROUNDS,
        "width": width,
        "block": block,
        "wide": wide,
        **dict.fromkeys(ones, 1),
    }
    signature, constants = {}, {}
    for position, parameter in enumerate(kernel.params):
        name = parameter.name
        if name in fixed:
            signature[name], constants[(position,)] = "constexpr", fixed[name]
        elif name in ("logits", "grad"):
            signature[name] = "*" + dtype
        else:
            signature[name] = TYPES.get(name, "i32")
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32))


def stack_of(machine_code):
    """Return the bytes of stack: registers are given out, and spilled, after PTX."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(machine_code)
        file.flush()
        told = subprocess.run(
            [triton.knobs.nvidia.cuobjdump.path, "-res-usage", file.name],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
    (stack,) = re.findall(r"STACK:(\d+)", told)
    return int(stack)


for capability, channels, dtype, wide in (
    (80, 2, "fp32", False),
    (80, 16, "fp32", False),
    (90, 64, "bf16", False),
    (90, 64, "bf16", True),
    (90, 256, "bf16", False),
):
    for kernel in (fused._forward_kernel, fused._backward_kernel):
        for logarithms in (False, True):
            found = compile_for(kernel, capability, channels, dtype, logarithms, wide)
            assert len(found.asm["cubin"]) > 1000
            # A fence at each addition would cost more than reading the logits.
            fences = set(re.findall(r"atom\S+", found.asm["ptx"])) - {RELAXED}
            assert not fences, fences
            # Images of over 2³¹ values are rare enough to be slow.
            assert wide or stack_of(found.asm["cubin"]) == 0, "registers spill to memory"
# One channel, one pixel, other memory: constants where the kernels otherwise have values.
for channels, dtype, ones in (
    (1, "fp32", (*CONTIGUOUS, "channels")),
    (2, "fp32", (*CONTIGUOUS, *CHANNELS_LAST, "pixels")),
    (16, "fp16", CHANNELS_LAST),
    (16, "bf16", ()),
):
    for kernel in (fused._forward_kernel, fused._backward_kernel):
        compile_for(kernel, 80, channels, dtype, False, False, ones)
print("compiles")
