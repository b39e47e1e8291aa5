"""Writes a random checkpoint at the full size of a released model, for measurements where no real weights are at hand.

  python3 bench/peers/make_checkpoint.py qwen3_5-4b OUT        Qwen3.5-4B by transformers, bf16
  python3 bench/peers/make_checkpoint.py spatialstack-4b OUT   the same with a VGGT-1B aggregator (f32) and fusion blocks
  python3 bench/peers/make_checkpoint.py vggt-1b OUT           VGGT-1B with all heads, f32

The tokenizer, template and processor settings come from a folder of the fixtures (--text-from), whose token ids the config takes over.
"""
import argparse, json, shutil, struct
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "test" / "fixtures"

TEXT_4B = dict(
    hidden_size=2560, num_hidden_layers=32, intermediate_size=9216, num_attention_heads=16, num_key_value_heads=4, head_dim=256,
    linear_num_key_heads=16, linear_num_value_heads=32, linear_key_head_dim=128, linear_value_head_dim=128, linear_conv_kernel_dim=4,
    rms_norm_eps=1e-6, vocab_size=248320, max_position_embeddings=262144, tie_word_embeddings=True,
    layer_types=["full_attention" if i % 4 == 3 else "linear_attention" for i in range(32)],
    rope_parameters=dict(rope_type="default", rope_theta=1e7, partial_rotary_factor=0.25, mrope_section=[11, 11, 10], mrope_interleaved=True),
)
VISION_4B = dict(
    depth=24, hidden_size=1024, num_heads=16, intermediate_size=4096, out_hidden_size=2560, patch_size=16, temporal_patch_size=2,
    spatial_merge_size=2, num_position_embeddings=2304, in_channels=3,
)
# Sizes of vggt-tiny that grow to those of VGGT-1B, and the depths of its three stacks.
VGGT_SIZES = {48: 1024, 144: 3072, 192: 4096, 26: 1370, 12: 64, 96: 2048}


def make_qwen(out: Path, text_from: Path) -> None:
    from transformers import Qwen3_5Config, Qwen3_5ForConditionalGeneration
    tiny = json.loads((text_from / "config.json").read_text())
    ids = {k: tiny[k] for k in ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")}
    text = dict(TEXT_4B, eos_token_id=tiny["text_config"]["eos_token_id"])
    config = Qwen3_5Config(text_config=text, vision_config=VISION_4B, tie_word_embeddings=True, **ids)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = Qwen3_5ForConditionalGeneration(config)
    torch.set_default_dtype(torch.float32)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() >= 2 and "conv1d" not in name and "embed" not in name:
                p.normal_(0, (1.0 / p[0].numel()) ** 0.5)  # unit gain, so that layers matter
            elif name.endswith(("A_log", "dt_bias")):
                p.uniform_(0.0, 1.0)
            elif "norm" in name:
                p.add_(0.05 * torch.randn_like(p))
    model.to(torch.bfloat16).save_pretrained(out, max_shard_size="5GB")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "processor_config.json"):
        shutil.copy(text_from / name, out / name)
    settings = json.loads((out / "processor_config.json").read_text())
    settings["image_processor"]["size"] = dict(shortest_edge=65536, longest_edge=16777216)
    settings["video_processor"]["size"] = dict(shortest_edge=4096, longest_edge=25165824)
    (out / "processor_config.json").write_text(json.dumps(settings))


Shapes = dict[str, tuple[int, ...]]


def linear(shapes: Shapes, name: str, outputs: int, inputs: int) -> None:
    shapes |= {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def norm(shapes: Shapes, name: str, dim: int) -> None:
    shapes |= {f"{name}.weight": (dim,), f"{name}.bias": (dim,)}


def convolution(shapes: Shapes, name: str, outputs: int, inputs: int, kernel: int) -> None:
    shapes |= {f"{name}.weight": (outputs, inputs, kernel, kernel), f"{name}.bias": (outputs,)}


def camera_head(dim: int = 2048, trunk: int = 4) -> Shapes:
    """Names and shapes of VGGT-1B's camera head."""
    shapes: Shapes = {"camera_head.empty_pose_tokens": (1, 1, 9)}
    for name in ("token_norm", "trunk_norm"):
        norm(shapes, f"camera_head.{name}", dim)
    linear(shapes, "camera_head.embed_pose", dim, 9)
    linear(shapes, "camera_head.poseLN_modulation.1", 3 * dim, dim)
    linear(shapes, "camera_head.pose_branch.fc1", dim // 2, dim)
    linear(shapes, "camera_head.pose_branch.fc2", 9, dim // 2)
    for i in range(trunk):
        block = f"camera_head.trunk.{i}"
        for name in ("norm1", "norm2"):
            norm(shapes, f"{block}.{name}", dim)
        for name in ("ls1", "ls2"):
            shapes[f"{block}.{name}.gamma"] = (dim,)
        linear(shapes, f"{block}.attn.qkv", 3 * dim, dim)
        linear(shapes, f"{block}.attn.proj", dim, dim)
        linear(shapes, f"{block}.mlp.fc1", 4 * dim, dim)
        linear(shapes, f"{block}.mlp.fc2", dim, 4 * dim)
    return shapes


def dpt(name: str, features: int, outputs: int, dim: int = 2048, channels: tuple[int, ...] = (256, 512, 1024, 1024)) -> Shapes:
    """Names and shapes of a DPT up to its fused map of so many outputs."""
    shapes: Shapes = {}
    norm(shapes, f"{name}.norm", dim)
    for i, width in enumerate(channels):
        convolution(shapes, f"{name}.projects.{i}", width, dim, 1)
        shapes[f"{name}.scratch.layer{i + 1}_rn.weight"] = (features, width, 3, 3)
    for i, kernel in ((0, 4), (1, 2), (3, 3)):
        convolution(shapes, f"{name}.resize_layers.{i}", channels[i], channels[i], kernel)
    for i in (1, 2, 3, 4):
        refine = f"{name}.scratch.refinenet{i}"
        convolution(shapes, f"{refine}.out_conv", features, features, 1)
        for unit in (1, 2) if i < 4 else (2,):
            for j in (1, 2):
                convolution(shapes, f"{refine}.resConfUnit{unit}.conv{j}", features, features, 3)
    convolution(shapes, f"{name}.scratch.output_conv1", outputs, features, 3)
    return shapes


def dense_head(name: str, values: int, features: int = 256) -> Shapes:
    """Names and shapes of VGGT-1B's depth or point head; values count the confidence."""
    shapes = dpt(name, features, features // 2)
    convolution(shapes, f"{name}.scratch.output_conv2.0", 32, features // 2, 3)
    convolution(shapes, f"{name}.scratch.output_conv2.2", values, 32, 1)
    return shapes


def track_head(features: int = 128, hidden: int = 384, depth: int = 6, samples: int = 7 * 81, virtual: int = 64) -> Shapes:
    """Names and shapes of VGGT-1B's track head."""
    shapes = dpt("track_head.feature_extractor", features, features)
    tracker, former, width = "track_head.tracker", "track_head.tracker.updateformer", 3 * features + 4
    shapes |= {f"{tracker}.query_ref_token": (1, 2, width), f"{former}.virual_tracks": (1, virtual, 1, hidden)}
    for name in ("fmap_norm", "ffeat_norm"):
        norm(shapes, f"{tracker}.{name}", features)
    linear(shapes, f"{tracker}.corr_mlp.fc1", 384, samples)
    linear(shapes, f"{tracker}.corr_mlp.fc2", features, 384)
    linear(shapes, f"{tracker}.ffeat_updater.0", features, features)
    for name in ("vis_predictor", "conf_predictor"):
        linear(shapes, f"{tracker}.{name}.0", 1, features)
    norm(shapes, f"{former}.input_norm", width)
    norm(shapes, f"{former}.output_norm", hidden)
    linear(shapes, f"{former}.input_transform", hidden, width)
    linear(shapes, f"{former}.flow_head", features + 2, hidden)
    kinds = ("time_blocks", "space_virtual_blocks", "space_point2virtual_blocks", "space_virtual2point_blocks")
    for kind in kinds:
        is_cross = "2" in kind
        for i in range(depth):
            block = f"{former}.{kind}.{i}"
            attention = f"{block}.{'cross_attn' if is_cross else 'attn'}"
            for name in ("norm1", "norm2") + (("norm_context",) if is_cross else ()):
                norm(shapes, f"{block}.{name}", hidden)
            shapes |= {f"{attention}.in_proj_weight": (3 * hidden, hidden), f"{attention}.in_proj_bias": (3 * hidden,)}
            linear(shapes, f"{attention}.out_proj", hidden, hidden)
            linear(shapes, f"{block}.mlp.fc1", 4 * hidden, hidden)
            linear(shapes, f"{block}.mlp.fc2", hidden, 4 * hidden)
    return shapes


def random_weight(name: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    if name.endswith("gamma"):
        return torch.full(shape, 0.1)
    if len(shape) == 1:
        return torch.randn(shape, generator=generator) * 0.05 + (1.0 if "norm" in name and name.endswith("weight") else 0.0)
    fan_in = max(1, torch.tensor(shape[1:]).prod().item())
    scale = 0.5 if "token" in name or "pos_embed" in name else fan_in**-0.5
    return torch.randn(shape, generator=generator) * scale


def vggt_tensors(prefixes: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """Random tensors with the names and shapes of VGGT-1B's aggregator: those of vggt-tiny, grown, with blocks 0.. repeated to the full depth."""
    tiny = load_file(FIXTURES / "vggt-tiny" / "model.safetensors")
    generator = torch.Generator().manual_seed(1)
    tensors = {}
    for name, value in tiny.items():
        if not name.startswith(prefixes):
            continue
        shape = [VGGT_SIZES.get(n, n) for n in value.shape]
        copies = [name]
        if ".blocks.0." in name or "_blocks.0." in name:
            copies = [name.replace("blocks.0.", f"blocks.{i}.") for i in range(24)]
        elif "blocks." in name:
            continue
        for copy in copies:
            tensors[copy] = random_weight(copy, tuple(shape), generator)
    return tensors


def add_geometry(out: Path) -> None:
    tensors = {f"model.geometry_encoder.vggt.{k}": v for k, v in vggt_tensors(("aggregator.",)).items()}
    generator = torch.Generator().manual_seed(2)
    random = lambda *shape: (torch.randn(shape, generator=generator) * max(1, shape[-1]) ** -0.5).to(torch.bfloat16)
    for i in range(3):
        p = f"model.language_feature_fusion.fusion_layers.{i}.0."
        tensors |= {p + "geo_ln.weight": torch.ones(2048, dtype=torch.bfloat16), p + "geo_ln.bias": torch.zeros(2048, dtype=torch.bfloat16)}
        tensors |= {p + "geo_mlp.0.weight": random(4096, 8192), p + "geo_mlp.0.bias": random(4096)}
        tensors |= {p + "geo_mlp.2.weight": random(2560, 4096), p + "geo_mlp.2.bias": random(2560)}
    save_file(tensors, out / "model-geometry.safetensors", metadata={"format": "pt"})
    index_path = out / "model.safetensors.index.json"
    if index_path.exists():
        index = json.loads(index_path.read_text())
    else:
        with open(out / "model.safetensors", "rb") as f:
            header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        index = dict(metadata={}, weight_map={k: "model.safetensors" for k in header if k != "__metadata__"})
    index["weight_map"] |= {k: "model-geometry.safetensors" for k in tensors}
    index_path.write_text(json.dumps(index))
    config = json.loads((out / "config.json").read_text())
    config |= dict(
        architectures=["Qwen3_5ForConditionalGenerationWithGeometry"], use_geometry_encoder=True, geometry_encoder_type="vggt",
        geometry_encoder_layers=[11, 17, 23], geometry_fusion_layers=[0, 1, 2], feature_fusion_method="deepstack_language_add",
        include_camera_token=False, reference_frame="first",
    )
    (out / "config.json").write_text(json.dumps(config, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["qwen3_5-4b", "spatialstack-4b", "vggt-1b"])
    parser.add_argument("out", type=Path)
    parser.add_argument("--text-from", type=Path, default=FIXTURES / "qwen3_5-tiny")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.kind == "vggt-1b":
        generator = torch.Generator().manual_seed(3)
        shapes = camera_head() | dense_head("depth_head", 2) | dense_head("point_head", 4) | track_head()
        heads = {name: random_weight(name, shape, generator) for name, shape in shapes.items()}
        # Fields of view near a radian, so that there are cameras through which depth becomes points.
        heads["camera_head.pose_branch.fc2.weight"][7:] *= 0.1
        heads["camera_head.pose_branch.fc2.bias"][7:] = 0.25
        save_file(vggt_tensors(("aggregator.",)) | heads, args.out / "model.safetensors", metadata={"format": "pt"})
        return
    make_qwen(args.out, args.text_from)
    if args.kind == "spatialstack-4b":
        add_geometry(args.out)


if __name__ == "__main__":
    main()
