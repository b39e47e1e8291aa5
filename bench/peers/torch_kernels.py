"""Times PyTorch's kernels at the shapes of `spatialstack bench kernels`.

  python3 bench/peers/torch_kernels.py --json pytorch-kernels.json
  spatialstack bench kernels ceiling matmul attention gated_delta conv2d --compare pytorch-kernels.json

Needs PyTorch and a CUDA card; rows of the gated delta rule also need flash-linear-attention (the package fla) and say so where it is missing.
"""
import argparse

from common import Report, import_torch, kernel_time

# [N, K] of the products of Qwen3.5-4B, as in bench/kernels/matmul.bench.ts.
LAYERS = [(18432, 2560), (2560, 9216), (12352, 2560), (10240, 2560), (2560, 4096)]
HEAD = (248320, 2560)
# queries, keys, heads, key heads, head size, causal, as in bench/kernels/attention.bench.ts.
ATTENTION = [
    (8192, 8192, 16, 16, 64, False),
    (4096, 4096, 16, 4, 256, True),
    (16384, 16384, 16, 4, 256, True),
    (1, 512, 16, 4, 256, True),
    (1, 32768, 16, 4, 256, True),
]
# frames, height, width, channels, outputs, kernel, stride, as in bench/kernels/conv2d.bench.ts.
CONVOLUTIONS = [
    (8, 112, 148, 256, 256, 3, 1),
    (8, 28, 37, 256, 256, 3, 1),
    (8, 224, 296, 256, 128, 3, 1),
    (1, 392, 518, 128, 32, 3, 1),
    (8, 28, 36, 1024, 1024, 3, 2),
    (8, 112, 148, 256, 256, 1, 1),
]


def random(*shape, dtype=None):
    torch = import_torch()
    return (torch.rand(*shape, device="cuda") * 2 - 1).to(dtype or torch.bfloat16)


def ceilings(report: Report) -> None:
    torch = import_torch()
    source = torch.zeros(2**28, dtype=torch.float32, device="cuda")
    target = torch.empty_like(source)
    report.attempt("ceiling", "copy_", "1024 MiB copied", lambda: kernel_time(lambda: target.copy_(source)), bytes=2 * 2**30)
    report.attempt("ceiling", "sum", "1024 MiB read", lambda: kernel_time(lambda: source.sum()), bytes=2**30)


def matmuls(report: Report) -> None:
    torch = import_torch()
    shapes = [(4096, 4096, 4096), (128, *LAYERS[1]), (128, *LAYERS[4])] + [(m, n, k) for m in (512, 2048, 8192) for n, k in LAYERS]
    for m, n, k in shapes + [(1, n, k) for n, k in [*LAYERS, HEAD]]:
        x, w = random(m, k), random(n, k)
        measure = lambda: kernel_time(lambda: torch.nn.functional.linear(x, w))
        report.attempt("matmul", "cuBLAS bf16", f"{m}x{n}x{k} bf16 weights", measure, flops=2 * m * n * k, bytes=2 * (m * k + n * k + m * n))


def attentions(report: Report) -> None:
    torch = import_torch()
    for queries, keys, heads, kv_heads, dim, causal in ATTENTION:
        q, k, v = random(1, heads, queries, dim), random(1, kv_heads, keys, dim), random(1, kv_heads, keys, dim)
        options = dict(is_causal=causal and queries == keys, enable_gqa=heads != kv_heads)
        pairs = queries * (keys - (queries - 1) / 2) if causal else queries * keys
        shape = f"{queries}x{keys}, {heads}/{kv_heads} heads of {dim}" + (", causal" if causal else "")
        measure = lambda: kernel_time(lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v, **options))
        report.attempt("attention", "SDPA bf16", shape, measure, flops=4 * pairs * heads * dim, bytes=2 * dim * 2 * (queries * heads + keys * kv_heads))
        if heads == kv_heads:
            continue
        # Some builds have no fast kernel for grouped keys: the same with the keys repeated beforehand, which is not timed.
        k2, v2 = (t.repeat_interleave(heads // kv_heads, 1).contiguous() for t in (k, v))
        plain = dict(is_causal=options["is_causal"])
        measure = lambda: kernel_time(lambda: torch.nn.functional.scaled_dot_product_attention(q, k2, v2, **plain))
        report.attempt("attention", "SDPA bf16, keys repeated", shape, measure, flops=4 * pairs * heads * dim)


def delta_rules(report: Report) -> None:
    torch = import_torch()
    shapes = [(512, 32), (8192, 32), (8192, 48), (1, 32), (1, 48)]
    names = {tokens_heads: f"T={tokens_heads[0]}, {tokens_heads[1]} value heads of 128" for tokens_heads in shapes}
    try:
        from fla.ops.gated_delta_rule import chunk_gated_delta_rule, fused_recurrent_gated_delta_rule
    except ImportError as error:
        for name in names.values():
            report.add("gated_delta", "fla", name, note=f"not measured: {error}")
        return
    for (tokens, heads), name in names.items():
        q, k, v = (torch.nn.functional.normalize(random(1, tokens, heads, 128, dtype=torch.float32), dim=-1).bfloat16() for _ in range(3))
        g, beta = -torch.rand(1, tokens, heads, device="cuda"), torch.rand(1, tokens, heads, device="cuda").bfloat16()
        state = torch.zeros(1, heads, 128, 128, device="cuda")
        rule, variant = (fused_recurrent_gated_delta_rule, "fla recurrent") if tokens == 1 else (chunk_gated_delta_rule, "fla chunk")
        measure = lambda: kernel_time(lambda: rule(q, k, v, g=g, beta=beta, initial_state=state, output_final_state=True))
        report.attempt("gated_delta", variant, name, measure, flops=6 * tokens * heads * 128 * 128)


def convolutions(report: Report) -> None:
    torch = import_torch()
    for frames, height, width, channels, outputs, kernel, stride in CONVOLUTIONS:
        x = random(frames, channels, height, width).to(memory_format=torch.channels_last)
        w = random(outputs, channels, kernel, kernel).to(memory_format=torch.channels_last)
        pixels = frames * height * width / stride**2
        shape = f"{frames}x{height}x{width} {channels}>{outputs} k{kernel} s{stride}"
        measure = lambda: kernel_time(lambda: torch.nn.functional.conv2d(x, w, stride=stride, padding=(kernel - 1) // 2))
        report.attempt("conv2d", "cuDNN bf16", shape, measure, flops=2 * pixels * outputs * channels * kernel**2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="file to write; standard output unless given")
    args = parser.parse_args()
    torch = import_torch()
    torch.backends.cudnn.benchmark = True
    report = Report("kernels", f"PyTorch {torch.__version__}")
    with torch.inference_mode():
        for measure in (ceilings, matmuls, attentions, delta_rules, convolutions):
            measure(report)
            torch.cuda.empty_cache()
    report.write(args.json)


if __name__ == "__main__":
    main()
