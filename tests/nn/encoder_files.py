"""Tiny HuBERTs with random weights in the forms in which the real ones are published."""

import json
import re

import torch
from torch import nn
from torchaudio.models import wav2vec2_model

CONVOLUTIONS = [(24, 10, 5)] + [(24, 3, 2)] * 4 + [(24, 2, 2)] * 2
BASE = {
    "extractor_mode": "group_norm",
    "extractor_conv_layer_config": CONVOLUTIONS,
    "extractor_conv_bias": False,
    "encoder_embed_dim": 128,
    "encoder_projection_dropout": 0.1,
    "encoder_pos_conv_kernel": 128,
    "encoder_pos_conv_groups": 16,
    "encoder_num_layers": 3,
    "encoder_num_heads": 2,
    "encoder_attention_dropout": 0.1,
    "encoder_ff_interm_features": 96,
    "encoder_ff_interm_dropout": 0.0,
    "encoder_dropout": 0.1,
    "encoder_layer_norm_first": False,
    "encoder_layer_drop": 0.05,
    "aux_num_out": None,
}
LARGE = {**BASE, "extractor_mode": "layer_norm", "extractor_conv_bias": True, "encoder_layer_norm_first": True}
SHAPES = {"base": BASE, "large": LARGE}
HEAD = 32


def torchaudio_hubert(shape="base", seed=0):
    """Torchaudio's network; every tensor random, the norms' too."""
    torch.manual_seed(seed)
    network = wav2vec2_model(**SHAPES[shape]).eval().requires_grad_(False)
    for name, value in network.state_dict().items():
        if value.ndim == 1:
            value.copy_(0.1 * torch.randn(value.shape) + (1.0 if name.endswith("norm.weight") else 0.0))
    return network


def head(seed=1):
    """A projection, weight and bias."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "weight": torch.randn(HEAD, 128, generator=generator) / 11,
        "bias": torch.randn(HEAD, generator=generator),
    }


def older_weight_norm(state):
    """The names that weight norm had before parametrizations."""
    new = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    out = {}
    for name, value in state.items():
        for a, b in new.items():
            name = name.replace(a, b)
        out[name] = value
    return out


def hugging_face(network):
    """The tensors as transformers' `HubertModel` names them: the importer of torchaudio states these names."""
    out = {"masked_spec_embed": torch.zeros(128)}
    for name, value in network.state_dict().items():
        name = name.replace("encoder.feature_projection.", "feature_projection.")
        out[name.replace("encoder.transformer.", "encoder.")] = value
    return out


def hugging_face_config(shape="base", **changes):
    """A `config.json` that fits."""
    made = SHAPES[shape]
    return {
        "model_type": "hubert",
        "architectures": ["HubertModel"],
        "hidden_act": "gelu",
        "feat_extract_activation": "gelu",
        "feat_extract_norm": made["extractor_mode"].removesuffix("_norm"),
        "layer_norm_eps": 1e-05,
        "conv_dim": [c for c, _, _ in CONVOLUTIONS],
        "conv_kernel": [k for _, k, _ in CONVOLUTIONS],
        "conv_stride": [s for _, _, s in CONVOLUTIONS],
        "conv_bias": made["extractor_conv_bias"],
        "do_stable_layer_norm": made["encoder_layer_norm_first"],
        "hidden_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 96,
        "num_conv_pos_embeddings": 128,
        "num_conv_pos_embedding_groups": 16,
        **changes,
    }


def write_hugging_face(folder, tensors, config):
    """`model.safetensors` and `config.json` in a folder; the path of the first."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file({k: v.clone().contiguous() for k, v in tensors.items()}, folder / "model.safetensors")
    return folder / "model.safetensors"


def fairseq(network):
    """The tensors as fairseq names them: torchaudio's importer, read backwards."""
    group_norm = isinstance(network.feature_extractor.conv_layers[0].layer_norm, nn.GroupNorm)
    norm = "2." if group_norm else "2.1."
    out = {"mask_emb": torch.zeros(128), "label_embs_concat": torch.zeros(504, HEAD)}
    for name, value in older_weight_norm(network.state_dict()).items():
        if name.startswith("feature_extractor"):
            name = name.replace(".conv.", ".0.").replace(".layer_norm.", f".{norm}")
        elif name.startswith("encoder.feature_projection"):
            name = name.removeprefix("encoder.feature_projection.").replace("projection", "post_extract_proj")
        else:
            name = name.replace("encoder.transformer.", "encoder.").replace("pos_conv_embed.conv", "pos_conv.0")
            name = re.sub(r"(layers\.\d+)\.layer_norm", r"\1.self_attn_layer_norm", name)
            name = name.replace(".attention.", ".self_attn.")
            name = name.replace("feed_forward.intermediate_dense", "fc1").replace("feed_forward.output_dense", "fc2")
        out[name] = value
    return out


class SoftVC(nn.Module):
    """Soft-VC's network from PyTorch's own parts, its tensors named as in bshall's releases."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.feature_extractor = nn.Module()
        sizes = [1, *[c for c, _, _ in CONVOLUTIONS]]
        for n, (channels, kernel, stride) in enumerate(CONVOLUTIONS):
            convolution = nn.Conv1d(sizes[n], channels, kernel, stride, bias=False)
            self.feature_extractor.add_module(f"conv{n}", convolution)
        self.feature_extractor.norm0 = nn.GroupNorm(24, 24)
        self.feature_projection = nn.Module()
        self.feature_projection.norm = nn.LayerNorm(24)
        self.feature_projection.projection = nn.Linear(24, 128)
        self.positional_embedding = nn.Module()
        convolution = nn.Conv1d(128, 128, 128, padding=64, groups=16)
        self.positional_embedding.conv = nn.utils.parametrizations.weight_norm(convolution, "weight", dim=2)
        self.masked_spec_embed = nn.Parameter(torch.rand(128))
        self.norm = nn.LayerNorm(128)
        self.encoder = nn.Module()
        self.encoder.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(128, 2, 96, activation="gelu", batch_first=True) for _ in range(12)
        )
        self.proj = nn.Linear(128, 256)
        self.label_embedding = nn.Embedding(100, 256)
        self.eval().requires_grad_(False)

    def layer(self, wave, n):
        """`(1, N)` to the output of a layer `(1, N // 320, 128)`."""
        gelu = nn.functional.gelu
        x = nn.functional.pad(wave, (40, 40))[:, None]
        x = gelu(self.feature_extractor.norm0(self.feature_extractor.conv0(x)))
        for i in range(1, 7):
            x = gelu(getattr(self.feature_extractor, f"conv{i}")(x))
        x = self.feature_projection.projection(self.feature_projection.norm(x.transpose(1, 2)))
        x = self.norm(x + gelu(self.positional_embedding.conv(x.transpose(1, 2))[..., :-1]).transpose(1, 2))
        for block in self.encoder.layers[:n]:
            x = block(x)
        return x

    def released(self, version="v0.2"):
        """The checkpoint: v0.2 nested and from a parallel wrapper, v0.1 flat."""
        state = older_weight_norm(self.state_dict())
        return {"hubert": {f"module.{k}": v for k, v in state.items()}} if version == "v0.2" else state
