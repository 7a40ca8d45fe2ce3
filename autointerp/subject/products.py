"""Which number formats a device multiplies by itself.

A processor without bfloat16 or float16 instructions multiplies such matrices in PyTorch's fallback, a hundred times
slower than in float32. There the same numbers are multiplied in float32. A product's sums are in float32 either way,
so the results differ by the order of sums and by roundings in between that are left out.
"""

import torch


def multiplies_natively(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether products of matrices of a dtype are fast on a device."""
    if device.type != "cpu":
        return True
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    if dtype == torch.float16:
        return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())
    return True


def product_dtype(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """The dtype in which to multiply numbers of another: their own, or float32 where that is faster."""
    return dtype if multiplies_natively(dtype, device) else torch.float32
