"""Pre-matching: ours against the published procedure, re-enacted, on the same random weights and files in one run.

    python benchmarks/prematch.py [--seconds 60] [--threads 2] [--device cpu]

The published procedure encodes one file at a time through all 24 layers, stacks them all to keep the sixth, glues the
pool together anew for every utterance, and computes float32 distances. Ours stops after the layer, batches, keeps the
speaker's pool and multiplies unit vectors. Both give the same frames, which is checked. Prints seconds of audio per
second, the ratio, and the share of the measured matrix-product peak that the encoder reaches.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from vcpipe.nn import wavlm
from vcpipe.systems.knnvc.match import match

LAYERS, LAYER, WIDTH, FFN, HEADS, K = 24, 6, 1024, 4096, 16, 4
CONVS = [(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512, 2, 2)] * 2
CFG = {
    "extractor_mode": "layer_norm",
    "encoder_layers": LAYERS,
    "encoder_embed_dim": WIDTH,
    "encoder_ffn_embed_dim": FFN,
    "encoder_attention_heads": HEADS,
    "layer_norm_first": True,
    "conv_feature_layers": str(CONVS),
    "conv_bias": False,
    "conv_pos": 128,
    "conv_pos_groups": 16,
    "relative_position_embedding": True,
    "num_buckets": 320,
    "max_distance": 800,
    "gru_rel_pos": True,
    "normalize": True,
}


def main() -> None:
    """Runs both and prints the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="of audio, in utterances of 6 to 15 s")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    device = torch.device(args.device)
    waves = _utterances(args.seconds)
    audio_s = sum(len(w) for w in waves) / 16000
    network = wavlm.build(wavlm.architecture(CFG, "benchmark")).to(device).eval()
    twin = wavlm.build(wavlm.architecture(CFG, "benchmark"))
    twin.load_state_dict(network.state_dict())
    ours_network = wavlm.WavLM(twin, LAYER).to(device).eval()
    print(f"{len(waves)} utterances, {audio_s:.1f} s, {args.threads} threads, {device}, torch {torch.__version__}")
    with torch.inference_mode():
        theirs = _timed(lambda: _published(network, waves, device), args.repeat)
        encode_s, frames = _timed(lambda: _encode(ours_network, waves, device), args.repeat)
        match_s, matched = _timed(lambda: _match(frames), args.repeat)
    for a, b in zip(theirs[1], matched, strict=True):
        torch.testing.assert_close(b, a, atol=2e-3, rtol=0)
    ours_s = encode_s + match_s
    print(f"published  {theirs[0]:8.2f} s  {audio_s / theirs[0]:7.2f} x real time")
    print(f"vcpipe     {ours_s:8.2f} s  {audio_s / ours_s:7.2f} x real time")
    print(f"           encoder {encode_s:.2f} s, matching {match_s:.2f} s")
    print(f"ratio      {theirs[0] / ours_s:8.2f}")
    peak, reached = _peak(device), sum(_flops(len(w)) for w in waves) / encode_s
    print(f"encoder    {reached / 1e9:8.1f} GFLOP/s, a matrix product {peak / 1e9:.1f}: {reached / peak:.0%} of it")


def _utterances(seconds: float) -> list[Tensor]:
    out: list[Tensor] = []
    while sum(len(w) for w in out) < seconds * 16000:
        out.append(0.1 * torch.randn(int(16000 * (6 + 9 * torch.rand(1).item()))))
    return out


def _timed(run: Callable[[], list[Tensor]], repeat: int) -> tuple[float, list[Tensor]]:
    best, result = float("inf"), []
    for _ in range(repeat):
        started = time.perf_counter()
        result = run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return best, result


def _published(network: torch.nn.Module, waves: list[Tensor], device: torch.device) -> list[Tensor]:
    frames = []
    for wave in waves:
        padded = torch.nn.functional.pad(wave, (0, 320 - len(wave) % 320)).to(device)
        layers, _ = network.extract_features(padded[None])
        frames.append(torch.stack([x[0] for x in layers])[LAYER - 1].cpu())
    out = []
    for i, query in enumerate(frames):
        pool = torch.cat([f for j, f in enumerate(frames) if j != i])
        norms = query.norm(dim=1)[:, None] * pool.norm(dim=1)[None]
        squares = query.norm(dim=1).square()[:, None] + pool.norm(dim=1).square()[None]
        distance = 1 - (squares - torch.cdist(query, pool).square()) / (2 * norms)
        rows = distance.topk(K, largest=False, dim=1).indices
        out.append(pool[rows].mean(dim=1))
    return out


def _encode(network: wavlm.WavLM, waves: list[Tensor], device: torch.device) -> list[Tensor]:
    order = sorted(range(len(waves)), key=lambda i: len(waves[i]))
    out: dict[int, Tensor] = {}
    for start in range(0, len(order), 2):
        ids = order[start : start + 2]
        lengths = torch.tensor([len(waves[i]) for i in ids], device=device)
        batch = torch.nn.utils.rnn.pad_sequence([waves[i] for i in ids], batch_first=True).to(device)
        found = network(batch, lengths)
        out.update({i: f[: len(waves[i]) // 320] for i, f in zip(ids, found, strict=True)})
    return [out[i] for i in range(len(waves))]


def _match(frames: list[Tensor]) -> list[Tensor]:
    pool, start, out = torch.cat(frames), 0, []
    for f in frames:
        out.append(match(f, pool, None, K, own=slice(start, start + len(f))).cpu())
        start += len(f)
    return out


def _flops(n: int) -> float:
    """Multiplications and additions of the encoder up to the layer, for `n` samples."""
    total, channels, length = 0.0, 1, n + 80
    for width, kernel, stride in CONVS:
        length = (length - kernel) // stride + 1
        total += 2.0 * length * width * kernel * channels
        channels = width
    t = length
    total += 2.0 * t * channels * WIDTH + 2.0 * t * WIDTH * (WIDTH // 16) * 128
    layer = 8.0 * t * WIDTH * WIDTH + 4.0 * t * t * WIDTH + 4.0 * t * WIDTH * FFN
    return total + LAYER * layer


def _peak(device: torch.device) -> float:
    n = 2048
    a, b = torch.randn(n, n, device=device), torch.randn(n, n, device=device)
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        a @ b
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return 2.0 * n**3 / best


if __name__ == "__main__":
    main()
