"""Run by test_fused.py: compile the kernels to machine code for GPUs that are not here."""

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from napari_cas.losses import fused

TYPES = {"index": "*i32", "sums": "*fp64", "table": "*fp32"}


def compile_for(kernel, capability, channels, dtype, logarithms):
    width, block = fused._sizes(channels)
    fixed = {
        "logarithms": logarithms,
        "rounds": fused._ROUNDS,
        "width": width,
        "block": block,
        # Triton makes arguments equal to one constants: contiguous pixels.
        "pixel_stride": 1,
        "grad_pixel_stride": 1,
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


for capability, channels, dtype in ((80, 16, "fp32"), (90, 256, "bf16")):
    for kernel in (fused._forward_kernel, fused._backward_kernel):
        for logarithms in (False, True):
            found = compile_for(kernel, capability, channels, dtype, logarithms)
            assert len(found.asm["cubin"]) > 1000
            assert "ld.local" not in found.asm["ptx"], "registers spill to memory"
print("compiles")
