"""Times Qwen3.5 by transformers, bf16, with the rows of `spatialstack bench model`: prefill, decode, and the vision tower.

  python3 bench/peers/torch_qwen3_5.py CHECKPOINT --json pytorch-qwen3_5.json
  spatialstack bench model --model-path CHECKPOINT --compare pytorch-qwen3_5.json

transformers takes the kernels of flash-linear-attention (fla) and causal-conv1d where they are installed; what it found is the rows' variant. A folder that
bench/peers/make_checkpoint.py wrote will do.
"""
import argparse
import importlib.util
import time

from common import Report, import_torch, wall_time

DECODED = 32


def variant() -> str:
    found = [name for name in ("fla", "causal_conv1d") if importlib.util.find_spec(name) is not None]
    return "transformers with " + " and ".join(found) if found else "transformers without fla"


def prefill_row(report: Report, model, kind: str, tokens: int) -> None:
    torch = import_torch()
    ids = torch.randint(10, 700, (1, tokens), device="cuda")
    measure = lambda: wall_time(lambda: model(input_ids=ids, use_cache=True, logits_to_keep=1))
    report.attempt("prefill", kind, f"{tokens} tokens", measure)


def decode_row(report: Report, model, kind: str, context: int) -> None:
    """Mean time of a step of `DECODED`, each waiting for the one before only on the GPU."""
    torch = import_torch()

    def measure() -> float:
        ids = torch.randint(10, 700, (1, context), device="cuda")
        output = model(input_ids=ids, use_cache=True, logits_to_keep=1)
        cache = output.past_key_values
        token = output.logits[:, -1:].argmax(-1)
        best = float("inf")
        for _ in range(3):
            torch.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(DECODED):
                output = model(input_ids=token, past_key_values=cache, use_cache=True)
                token = output.logits[:, -1:].argmax(-1)
            torch.cuda.synchronize()
            best = min(best, (time.perf_counter() - start) * 1000 / DECODED)
        return best

    report.attempt("decode", kind, f"1 token after {context}", measure)


def vision_row(report: Report, model, kind: str, pictures: int, width: int = 512, height: int = 384) -> None:
    torch = import_torch()
    vision = model.config.vision_config
    patch = vision.patch_size
    grid = torch.tensor([[1, height // patch, width // patch]] * pictures, device="cuda")
    values = vision.in_channels * vision.temporal_patch_size * patch**2
    pixels = torch.randn(int(grid.prod(-1).sum()), values, device="cuda", dtype=torch.bfloat16)
    measure = lambda: wall_time(lambda: model.model.visual(pixels, grid_thw=grid))
    shape = f"{pictures} picture{'' if pictures == 1 else 's'} of {width}x{height}"
    report.attempt("vision", kind, shape, measure)


def numbers(text: str) -> list[int]:
    return [] if text == "none" else [int(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--lengths", type=numbers, default=[512, 2048, 8192])
    parser.add_argument("--contexts", type=numbers, default=[512])
    parser.add_argument("--pictures", type=numbers, default=[1, 8, 32])
    parser.add_argument("--json", help="file to write; standard output unless given")
    args = parser.parse_args()
    torch = import_torch()
    try:
        import transformers
        from transformers import Qwen3_5ForConditionalGeneration
    except ImportError as error:
        raise SystemExit(f"transformers with Qwen3.5 is needed: {error}.")
    kind = variant()
    report = Report("model", f"PyTorch {torch.__version__}, transformers {transformers.__version__}", model="qwen3_5", dtype="bfloat16")
    start = time.perf_counter()
    model = Qwen3_5ForConditionalGeneration.from_pretrained(args.checkpoint, dtype=torch.bfloat16).to("cuda").eval()
    torch.cuda.synchronize()
    report.add("load", kind, "checkpoint", (time.perf_counter() - start) * 1000)
    with torch.inference_mode():
        for tokens in args.lengths:
            prefill_row(report, model, kind, tokens)
        for context in args.contexts:
            decode_row(report, model, kind, context)
        for pictures in args.pictures:
            vision_row(report, model, kind, pictures)
    report.write(args.json)


if __name__ == "__main__":
    main()
