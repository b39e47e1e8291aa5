"""Times VGGT-1B in plain PyTorch, with the rows of `spatialstack bench model` on a VGGT: aggregator, heads, and all of it in one prediction; 16 points tracked.

  python3 bench/peers/torch_vggt.py --json pytorch-vggt.json
  spatialstack bench model --model-path VGGT-1B --compare pytorch-vggt.json

The modules follow the published architecture (Wang et al. 2025) with random weights: what they compute is of no use, how long they take is. Aggregator in bf16
with scaled dot product attention; heads in f32, as the original runs them, with TF32 allowed.
"""
import argparse

from common import Report, import_torch, wall_time

torch = import_torch()
nn, F = torch.nn, torch.nn.functional
HEIGHT, WIDTH, PATCH, DIM, SPECIAL = 392, 518, 14, 1024, 5
DPT_LAYERS, ALL_LAYERS = (4, 11, 17, 23), (11, 17, 23)


def rope_tables(rows: int, columns: int):
    """cos and sin [tokens, 64] of one frame: 32 dims for the row, 32 for the column; special tokens do not turn."""
    frequencies = 100.0 ** (-torch.arange(0, 32, 2, device="cuda") / 32)
    grid = torch.cartesian_prod(torch.arange(1, rows + 1, device="cuda"), torch.arange(1, columns + 1, device="cuda"))
    places = torch.cat([torch.zeros(SPECIAL, 2, device="cuda"), grid.float()])
    angles = torch.cat([(places[:, axis, None] * frequencies).repeat(1, 2) for axis in (0, 1)], -1)
    return angles.cos(), angles.sin()


def rotate(x, cos, sin):
    """x [..., tokens, 64]: pairs (i, i + 16) of each half turn together."""
    halves = x.unflatten(-1, (2, 2, 16))
    turned = torch.stack([-halves[..., 1, :], halves[..., 0, :]], -2).flatten(-3)
    return x * cos + turned * sin


class Block(nn.Module):
    def __init__(self, dim: int, heads: int, normed: bool):
        super().__init__()
        self.heads, self.normed = heads, normed
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.ls1, self.ls2 = nn.Parameter(torch.full((dim,), 0.01)), nn.Parameter(torch.full((dim,), 0.01))
        if normed:
            self.q_norm, self.k_norm = nn.LayerNorm(dim // heads), nn.LayerNorm(dim // heads)

    def forward(self, x, rope=None):
        batch, tokens, dim = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if self.normed:
            q, k = self.q_norm(q), self.k_norm(k)
        if rope is not None:
            q, k = rotate(q, *rope).to(v.dtype), rotate(k, *rope).to(v.dtype)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, dim)
        x = x + self.ls1 * self.proj(attended)
        return x + self.ls2 * self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Aggregator(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, DIM, PATCH, PATCH)
        self.positions = nn.Parameter(torch.randn(1, (HEIGHT // PATCH) * (WIDTH // PATCH) + 1, DIM))
        self.cls, self.registers = nn.Parameter(torch.randn(1, 1, DIM)), nn.Parameter(torch.randn(1, 4, DIM))
        self.dino = nn.ModuleList(Block(DIM, 16, False) for _ in range(24))
        self.norm = nn.LayerNorm(DIM)
        self.special = nn.Parameter(torch.randn(2, SPECIAL, DIM))
        self.frame = nn.ModuleList(Block(DIM, 16, True) for _ in range(24))
        self.globals = nn.ModuleList(Block(DIM, 16, True) for _ in range(24))

    def forward(self, images, layers):
        frames = images.shape[0]
        x = self.patch(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(frames, -1, -1), x], 1) + self.positions
        x = torch.cat([x[:, :1], self.registers.expand(frames, -1, -1), x[:, 1:]], 1)
        for block in self.dino:
            x = block(x)
        x = self.norm(x)[:, SPECIAL:]
        x = torch.cat([self.special[[0] + [1] * (frames - 1)], x], 1)
        tokens = x.shape[1]
        cos, sin = (table.to(x.dtype) for table in rope_tables(HEIGHT // PATCH, WIDTH // PATCH))
        repeated = (cos.repeat(frames, 1), sin.repeat(frames, 1))
        outputs = []
        for i, (frame, overall) in enumerate(zip(self.frame, self.globals)):
            x = frame(x, (cos, sin))
            inside = x
            x = overall(x.view(1, frames * tokens, DIM), repeated).view(frames, tokens, DIM)
            if i in layers:
                outputs.append(torch.cat([inside, x], -1))
        return outputs


class CameraHead(nn.Module):
    def __init__(self, dim: int = 2 * DIM):
        super().__init__()
        self.token_norm, self.trunk_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.empty = nn.Parameter(torch.zeros(1, 1, 9))
        self.embed, self.modulation = nn.Linear(9, dim), nn.Linear(dim, 3 * dim)
        self.trunk = nn.ModuleList(Block(dim, 16, False) for _ in range(4))
        self.fc1, self.fc2 = nn.Linear(dim, dim // 2), nn.Linear(dim // 2, 9)

    def forward(self, tokens):
        x = self.token_norm(tokens[:, 0])[None]
        pose = None
        for _ in range(4):
            embedded = self.embed(self.empty.expand(1, x.shape[1], -1) if pose is None else pose)
            shift, scale, gate = self.modulation(F.silu(embedded)).chunk(3, -1)
            y = x + gate * (F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift)
            for block in self.trunk:
                y = block(y)
            delta = self.fc2(F.gelu(self.fc1(self.trunk_norm(y))))
            pose = delta if pose is None else pose + delta
        return pose


class Residual(nn.Module):
    def __init__(self, features: int):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(features, features, 3, padding=1), nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x):
        x = F.relu(x)
        return self.conv2(F.relu(self.conv1(x))) + x


class Dpt(nn.Module):
    """Maps of `outputs` channels at half the resolution from the tokens of four layers. Position embeddings are tables made once in the original too: one
    addition each, left out here."""

    def __init__(self, features: int, outputs: int):
        super().__init__()
        channels = (256, 512, 1024, 1024)
        self.norm = nn.LayerNorm(2 * DIM)
        self.projects = nn.ModuleList(nn.Conv2d(2 * DIM, c, 1) for c in channels)
        self.resize = nn.ModuleList([nn.ConvTranspose2d(256, 256, 4, 4), nn.ConvTranspose2d(512, 512, 2, 2), nn.Identity(), nn.Conv2d(1024, 1024, 3, 2, 1)])
        self.reduce = nn.ModuleList(nn.Conv2d(c, features, 3, padding=1, bias=False) for c in channels)
        self.joins, self.units = nn.ModuleList(Residual(features) for _ in range(3)), nn.ModuleList(Residual(features) for _ in range(4))
        self.out = nn.ModuleList(nn.Conv2d(features, features, 1) for _ in range(4))
        self.output1 = nn.Conv2d(features, outputs, 3, padding=1)

    def forward(self, layers):
        rows, columns = HEIGHT // PATCH, WIDTH // PATCH
        maps = []
        for layer, project, resize, reduce in zip(layers, self.projects, self.resize, self.reduce):
            x = self.norm(layer[:, SPECIAL:]).transpose(1, 2).unflatten(2, (rows, columns))
            maps.append(reduce(resize(project(x))))
        x = maps[3]
        for i in (3, 2, 1, 0):
            if i < 3:
                x = x + self.joins[i](maps[i])
            x = self.units[i](x)
            size = maps[i - 1].shape[2:] if i > 0 else [2 * side for side in maps[0].shape[2:]]
            x = self.out[i](F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=True))
        return self.output1(x)


def by_eight(some, layers):
    """Eight frames at a time, as the original."""
    return [some([layer[i : i + 8] for layer in layers]) for i in range(0, layers[0].shape[0], 8)]


class DptHead(nn.Module):
    def __init__(self, outputs: int):
        super().__init__()
        self.dpt = Dpt(256, 128)
        self.output2, self.output3 = nn.Conv2d(128, 32, 3, padding=1), nn.Conv2d(32, outputs, 1)
        self.exponential = outputs == 2

    def forward(self, layers):
        return [torch.cat(parts) for parts in zip(*by_eight(self.some, layers))]

    def some(self, layers):
        x = F.interpolate(self.dpt(layers), size=(HEIGHT, WIDTH), mode="bilinear", align_corners=True)
        x = self.output3(F.relu(self.output2(x)))
        value, confidence = x[:, :-1], x[:, -1]
        return (value.exp() if self.exponential else value.sign() * value.abs().expm1()), 1 + confidence.exp()


class TrackBlock(nn.Module):
    """Self attention, or attention to a context; the residual starts from the norm's result."""

    def __init__(self, dim: int = 384):
        super().__init__()
        self.norm1, self.norm_context, self.norm2 = (nn.LayerNorm(dim) for _ in range(3))
        self.attention = nn.MultiheadAttention(dim, 8, batch_first=True)
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x, context=None):
        y = self.norm1(x)
        seen = y if context is None else self.norm_context(context)
        y = y + self.attention(y, seen, seen, need_weights=False)[0]
        return y + self.fc2(F.gelu(self.fc1(self.norm2(y))))


class TrackHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = Dpt(128, 128)
        self.fmap_norm, self.ffeat_norm = nn.LayerNorm(128), nn.GroupNorm(1, 128)
        self.corr1, self.corr2 = nn.Linear(7 * 81, 384), nn.Linear(384, 128)
        self.input_norm, self.input_transform = nn.LayerNorm(388), nn.Linear(388, 384)
        self.virtual = nn.Parameter(torch.randn(64, 1, 384))
        self.blocks = nn.ModuleList(nn.ModuleList(TrackBlock() for _ in range(4)) for _ in range(6))
        self.output_norm, self.flow_head, self.updater = nn.LayerNorm(384), nn.Linear(384, 130), nn.Linear(128, 128)
        self.visible, self.confident = nn.Linear(128, 1), nn.Linear(128, 1)
        self.ladder = 2 * torch.arange(32) * (1000 / 64)

    def sample(self, maps, places, padding: str):
        """maps [B, C, h, w] at places [B, ..., 2] in pixels."""
        height, width = maps.shape[2:]
        grid = 2 * places / torch.tensor([max(width - 1, 1), max(height - 1, 1)]) - 1
        return F.grid_sample(maps, grid, align_corners=True, padding_mode=padding)

    def correlate(self, pyramid, feat, coords):
        """Seven levels of 9 x 9 correlations around every track: [S, N, 567]."""
        frames, points = coords.shape[:2]
        window = torch.cartesian_prod(torch.arange(-4.0, 5), torch.arange(-4.0, 5)).view(9, 9, 2)
        found = []
        for level, maps in enumerate(pyramid):
            volume = torch.einsum("snc,schw->snhw", feat, maps) / 128**0.5
            places = coords.view(-1, 1, 1, 2) / 2**level + window
            found.append(self.sample(volume.flatten(0, 1)[:, None], places, "zeros").view(frames, points, 81))
        return torch.cat(found, -1)

    def update(self, x):
        """[S, N, 388] to [S, N, 130]."""
        points = x.shape[1]
        x = x0 = self.input_transform(self.input_norm(x)).transpose(0, 1)
        x = torch.cat([x, self.virtual.expand(-1, x.shape[1], -1)])
        for over_time, virtual_to_point, virtual, point_to_virtual in self.blocks:
            x = over_time(x).transpose(0, 1)
            real, vt = x[:, :points], x[:, points:]
            vt = virtual(virtual_to_point(vt, real))
            x = torch.cat([point_to_virtual(real, vt), vt], 1).transpose(0, 1)
        return self.flow_head(self.output_norm(x[:points] + x0)).transpose(0, 1)

    def forward(self, layers, queries):
        fmaps = self.fmap_norm(torch.cat(by_eight(self.features, layers)).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        pyramid = [fmaps]
        for _ in range(6):
            pyramid.append(F.avg_pool2d(pyramid[-1], 2, 2))
        frames, points = fmaps.shape[0], queries.shape[0]
        coords = (queries / 2).expand(frames, points, 2).clone()
        feat = self.sample(fmaps[:1], coords[:1, None], "border")[0, :, 0].T.expand(frames, points, 128)
        for _ in range(4):
            corr = self.corr2(F.gelu(self.corr1(self.correlate(pyramid, feat, coords))))
            flow = coords - coords[:1]
            angles = flow[..., None] * self.ladder
            embedded = torch.stack([angles.sin(), angles.cos()], -1).flatten(2)
            # The tables added to it, of places and of the frame of reference, are left out like those above.
            delta = self.update(torch.cat([embedded, flow / 518, flow / 518, corr, feat], -1))
            feat = feat + F.gelu(self.updater(self.ffeat_norm(delta[..., 2:].flatten(0, 1)))).view_as(feat)
            coords = coords + delta[..., :2]
            coords[0] = queries / 2
        return coords * 2, self.visible(feat).sigmoid(), self.confident(feat).sigmoid()


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=numbers, default=[1, 8, 32])
    parser.add_argument("--json", help="file to write; standard output unless given")
    args = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    report = Report("model", f"PyTorch {torch.__version__}", model="vggt", dtype="bfloat16")
    with torch.inference_mode(), torch.device("cuda"):
        aggregator = Aggregator().bfloat16().eval()
        heads = {"camera": CameraHead().eval(), "depth": DptHead(2).eval(), "point": DptHead(4).eval(), "track": TrackHead().eval()}
        points = torch.cartesian_prod((torch.arange(4) + 0.5) / 4 * WIDTH, (torch.arange(4) + 0.5) / 4 * HEIGHT)
        for frames in args.frames:
            shape = f"{frames} frame{'' if frames == 1 else 's'} of {HEIGHT}x{WIDTH}"
            images = torch.rand(frames, 3, HEIGHT, WIDTH).bfloat16()
            report.attempt("aggregator", "SDPA bf16", shape, lambda: wall_time(lambda: aggregator(images, ALL_LAYERS)))
            tokens = SPECIAL + (HEIGHT // PATCH) * (WIDTH // PATCH)
            layers = [torch.randn(frames, tokens, 2 * DIM) for _ in DPT_LAYERS]

            def predict():
                found = [layer.float() for layer in aggregator(images, DPT_LAYERS)]
                results = [[heads["camera"](found[-1])], heads["depth"](found), heads["point"](found), heads["track"](found, points)]
                return [part.cpu() for result in results for part in result]

            for name, head in heads.items():
                operands = {"camera": (layers[-1],), "track": (layers, points)}.get(name, (layers,))
                # Results are read back, as ours are.
                read = lambda: [part.cpu() for part in (head(*operands) if name != "camera" else [head(*operands)])]
                report.attempt(f"{name} head", "TF32", shape, lambda: wall_time(read))
            report.attempt("prediction", "SDPA bf16, heads TF32", shape, lambda: wall_time(predict))
    report.write(args.json)


if __name__ == "__main__":
    main()
