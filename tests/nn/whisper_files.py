"""Whisper encoders in the forms in which they are published."""

import struct

import torch

from vcpipe.nn.whisper import Size, WhisperEncoder

SMALL = Size(n_mels=128, width=128, heads=2, layers=3, frames=1500)
OPENAI = {
    "layers.": "blocks.",
    "attention_norm": "attn_ln",
    "feed_norm": "mlp_ln",
    ".out.": ".attn.out.",
    ".up.": ".mlp.0.",
    ".down.": ".mlp.2.",
    "positions": "positional_embedding",
}
HUGGING_FACE = {
    "attention_norm": "self_attn_layer_norm",
    "feed_norm": "final_layer_norm",
    ".out.": ".self_attn.out_proj.",
    ".up.": ".fc1.",
    ".down.": ".fc2.",
    "positions": "embed_positions.weight",
}


def random_encoder(size=SMALL, seed=0):
    """With random weights; keys without bias, as in every Whisper."""
    torch.manual_seed(seed)
    encoder = WhisperEncoder(size).eval().requires_grad_(False)
    encoder.positions.copy_(torch.randn(size.frames, size.width))
    for layer in encoder.layers:
        layer.qkv.bias[size.width : 2 * size.width] = 0
    return encoder


def openai(encoder):
    """The checkpoint of an encoder, with a decoder's tensor beside it."""
    state = _named(encoder, OPENAI, "norm", "ln_post", [".attn.query.", ".attn.key.", ".attn.value."])
    state = {f"encoder.{k}": v for k, v in state.items()}
    dims = {"n_mels": encoder.size.n_mels, "n_audio_layer": encoder.size.layers}
    return {"dims": dims, "model_state_dict": {**state, "decoder.ln.weight": torch.zeros(3)}}


def hugging_face(encoder):
    """The tensors of transformers' `WhisperForConditionalGeneration`."""
    stacked = [".self_attn.q_proj.", ".self_attn.k_proj.", ".self_attn.v_proj."]
    state = _named(encoder, HUGGING_FACE, "norm", "layer_norm", stacked)
    return {**{f"model.encoder.{k}": v for k, v in state.items()}, "model.decoder.layer_norm.weight": torch.zeros(3)}


def _named(encoder, changes, norm, closing, stacked):
    out = {}
    for name, value in encoder.state_dict().items():
        if ".qkv." in name:
            for n, (part, rows) in enumerate(zip(stacked, value.chunk(3), strict=True)):
                if n != 1 or name.endswith("weight"):
                    out[_renamed(name.replace(".qkv.", part), changes)] = rows.clone()
        elif name.startswith(f"{norm}."):
            out[name.replace(norm, closing, 1)] = value
        else:
            out[_renamed(name, changes)] = value
    return out


def _renamed(name, changes):
    for old, new in changes.items():
        name = name.replace(old, new)
    return name


def ctranslate2(encoder, dtype=torch.float16):
    """The bytes of a `model.bin`."""
    parts = {
        "attention_norm": "self_attention/layer_norm",
        "qkv": "self_attention/linear_0",
        "out": "self_attention/linear_1",
        "feed_norm": "ffn/layer_norm",
        "up": "ffn/linear_0",
        "down": "ffn/linear_1",
    }
    variables = {"decoder/layer_norm/gamma": torch.zeros(3)}
    for name, value in encoder.state_dict().items():
        owner, _, kind = name.rpartition(".")
        kinds = {"weight": "gamma", "bias": "beta"} if owner.endswith("norm") else {}
        if name == "positions":
            path = "position_encodings/encodings"
        elif owner.startswith("layers."):
            _, n, part = owner.split(".")
            path = f"layer_{n}/{parts[part]}/{kinds.get(kind, kind)}"
        else:
            path = f"{owner.replace('norm', 'layer_norm')}/{kinds.get(kind, kind)}"
        variables[f"encoder/{path}"] = value
    text = lambda s: struct.pack("<H", len(s) + 1) + s.encode() + b"\0"  # noqa: E731
    out = struct.pack("<I", 6) + text("WhisperSpec") + struct.pack("<II", 3, len(variables))
    for name, value in variables.items():
        array = value.to(dtype).contiguous()
        out += text(name) + struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
        code = {torch.float32: 0, torch.int8: 1, torch.float16: 4}[dtype]
        out += struct.pack("<BI", code, array.nbytes) + array.numpy().tobytes()
    return out + struct.pack("<I", 0)
