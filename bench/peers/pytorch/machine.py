"""What this machine can do at best, as PyTorch reaches it: every figure the best of several tries."""

import time

import torch

from training import captured


def synchronize(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def best(function, device, tries=7, calls=1):
    """Seconds a call, of the fastest try; the first calls do not count."""
    for _ in range(2):
        function()
    synchronize(device)
    fastest = None
    for _ in range(tries):
        start = time.perf_counter()
        for _ in range(calls):
            function()
        synchronize(device)
        seconds = (time.perf_counter() - start) / calls
        fastest = seconds if fastest is None else min(fastest, seconds)
    return fastest


def copy_gbps(device):
    count = 2**28 if device.type == "cuda" else 2**24
    a = torch.zeros(count, device=device)
    b = torch.empty_like(a)
    return 2 * 4 * count / best(lambda: b.copy_(a), device, calls=5) / 1e9


def matmul_tflops(device, dtype, n, tf32=False):
    a = torch.randn(n, n, device=device).to(dtype)
    b = torch.randn(n, n, device=device).to(dtype)
    allow_tf32(tf32)
    try:
        return 2 * n**3 / best(lambda: a @ b, device, calls=3) / 1e12
    finally:
        allow_tf32(False)


def allow_tf32(on):
    torch.backends.cuda.matmul.allow_tf32 = on
    torch.backends.cudnn.allow_tf32 = on


def ceilings(device):
    on_gpu = device.type == "cuda"
    n = 8192 if on_gpu else 1024
    all = {"copyGBps": copy_gbps(device), "copyCounts": "bytes read and bytes written"}
    all["matmulOf"] = n
    all["matmulBf16Tflops"] = matmul_tflops(device, torch.bfloat16, n)
    all["matmulF32Tflops"] = matmul_tflops(device, torch.float32, n // 2 if on_gpu else n)
    x = torch.zeros(32, device=device)
    # the host's time to put a kernel on the stream; on a CPU, of a call with hardly any work
    all["launchMicros"] = 1e6 * best(lambda: x.add_(1), device, calls=2000)
    if on_gpu:
        all["matmulTf32Tflops"] = matmul_tflops(device, torch.float32, n, tf32=True)

        def round_trip():
            x.add_(1)
            torch.cuda.synchronize(device)

        all["launchAndWaitMicros"] = 1e6 * best(round_trip, device, calls=200)
        nodes = 1000

        def chain(count):
            def many():
                for _ in range(count):
                    x.add_(1)

            return captured(many)

        one, many = chain(1), chain(nodes)
        all["graphLaunchMicros"] = 1e6 * best(one.replay, device, calls=200)
        all["graphNodeMicros"] = 1e6 * best(many.replay, device, calls=5) / nodes
    else:
        all["notAvailable"] = "TF32 and CUDA graphs: no GPU"
    return all
