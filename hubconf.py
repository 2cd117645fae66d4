"""For `torch.hub.load(<this repository>, 'knn_vc', ...)`."""

dependencies = [
    "torch",
    "torchaudio",
    "numpy",
    "pydantic",
    "h5py",
    "safetensors",
    "soundfile",
    "soxr",
    "scipy",
    "pyloudnorm",
    "onnxruntime",
    "silero_vad",
]

from vcpipe.systems.knnvc.hub import knn_vc  # noqa: E402, F401
