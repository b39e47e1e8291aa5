"""Writes a reference file for `spatialstack verify` with transformers, and says how far its own bf16 run is from its float32 run.

  python3 bench/peers/qwen3_5_reference.py CHECKPOINT OUT.safetensors [--tokens 300]
"""
import argparse

import torch
from safetensors.torch import save_file
from transformers import Qwen3_5ForConditionalGeneration


@torch.no_grad()
def run(path: str, ids: torch.Tensor, dtype: torch.dtype) -> tuple[list[torch.Tensor], torch.Tensor]:
    model = Qwen3_5ForConditionalGeneration.from_pretrained(path, dtype=dtype, device_map="cuda").eval()
    hidden: list[torch.Tensor] = []
    hooks = [layer.register_forward_hook(lambda _m, _i, o: hidden.append((o[0] if isinstance(o, tuple) else o)[0].float().cpu())) for layer in model.model.language_model.layers]
    logits = model(input_ids=ids[None].cuda()).logits[0].float().cpu()
    for hook in hooks:
        hook.remove()
    del model
    torch.cuda.empty_cache()
    return hidden, logits


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("out")
    parser.add_argument("--tokens", type=int, default=300)
    args = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    ids = torch.randint(10, 700, (args.tokens,), generator=torch.Generator().manual_seed(3))
    hidden, logits = run(args.checkpoint, ids, torch.float32)
    tensors = {"input_ids": ids.int(), "argmax": logits.argmax(-1).int(), "logits_last": logits[-1].clone(), "logits_tail": logits[-8:].clone()}
    for i, h in enumerate(hidden):
        tensors[f"layer.{i}.hidden.head"] = h[:4].clone()
        tensors[f"layer.{i}.hidden.tail"] = h[-4:].clone()
    save_file(tensors, args.out)
    hidden16, logits16 = run(args.checkpoint, ids, torch.bfloat16)
    top = logits.topk(2, -1).values
    margin = top[:, 0] - top[:, 1]
    clear = margin > 0.1
    agree = (logits16.argmax(-1) == logits.argmax(-1))[clear].float().mean().item() if clear.any() else float("nan")
    print(f"transformers bf16 against float32: logits_tail {relative(logits16[-8:], logits[-8:]):.3e} all logits {relative(logits16, logits):.3e} "
          f"last hidden tail {relative(hidden16[-1][-4:], hidden[-1][-4:]):.3e} top-1 on {int(clear.sum())} clear margins {agree:.4f}")


if __name__ == "__main__":
    main()
