"""Finds in a file's syntax what no file may do: run what it reads, start a shell, or reach the network by a side door.

Names are followed through imports, so `import torch as t` hides nothing; a banned thing is found when it is named, not
only when it is called, so `f = os.system` hides nothing either. What is spelled at run time is not found: this is
against accidents.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

USUAL = {"np": "numpy", "th": "torch", "pd": "pandas", "wds": "webdataset"}
"""Short names that stand for their modules even where the import is not seen."""

MODULES = {
    **dict.fromkeys(
        ("pickle", "cPickle", "_pickle", "pickle5", "dill", "cloudpickle", "jsonpickle", "hickle", "joblib"), "pickles"
    ),
    **dict.fromkeys(("shelve", "marshal", "tables", "torch.package"), "unpickles what it reads"),
    **dict.fromkeys(("requests", "httpx", "aiohttp", "urllib3", "ftplib", "wget", "gdown"), "is not vcpipe.fetch"),
    **dict.fromkeys(("huggingface_hub", "transformers", "modelscope"), "downloads by name"),
    **dict.fromkeys(("speechbrain.pretrained", "speechbrain.inference", "torchaudio.pipelines"), "downloads by name"),
    **dict.fromkeys(("silero_vad", "resemblyzer"), "unpickles its weights (read the file of the wheel instead)"),
    **dict.fromkeys(("torch.hub", "torch.utils.model_zoo"), "runs or fetches code"),
    **dict.fromkeys(("commands", "pty"), "starts a shell"),
}
ONLY_IN = {"urllib.request": "vcpipe/fetch.py", "webdataset.gopen": "vcpipe/packs/tars.py"}
"""Modules that one file may use."""

NAMES = {
    **dict.fromkeys(("eval", "exec", "__import__"), "runs text"),
    **dict.fromkeys(("os.system", "os.popen", "os.startfile", "subprocess.getoutput"), "starts a shell"),
    **dict.fromkeys(("subprocess.getstatusoutput", "asyncio.create_subprocess_shell"), "starts a shell"),
    **dict.fromkeys((f"yaml.{n}" for n in ("load", "load_all", "full_load", "full_load_all")), "use yaml.safe_load"),
    **dict.fromkeys((f"yaml.{n}" for n in ("unsafe_load", "unsafe_load_all", "Loader")), "use yaml.safe_load"),
    **dict.fromkeys((f"yaml.{n}Loader" for n in ("Unsafe", "Full", "C", "CUnsafe", "CFull")), "use yaml.safe_load"),
    **dict.fromkeys(("torch.jit.load", "torch.export.load"), "runs code"),
    "torch.serialization.load": "use vcpipe.weights",
    **dict.fromkeys(("torch.serialization.add_safe_globals", "torch.serialization.safe_globals"), "widens what loads"),
    **dict.fromkeys(("pandas.read_pickle", "pandas.read_hdf", "numpy.loads"), "unpickles"),
    **dict.fromkeys(("numpy.DataSource", "urllib.urlretrieve"), "is not vcpipe.fetch"),
    **dict.fromkeys(("h5py.special_dtype", "h5py.vlen_dtype"), "objects in HDF5"),
    **dict.fromkeys(("shutil.unpack_archive", "tempfile.mktemp", "os.tempnam"), "leads elsewhere"),
    **dict.fromkeys(("ssl._create_unverified_context", "ssl.CERT_NONE"), "believes any server"),
    **dict.fromkeys(("webdataset.autodecode", "webdataset.torch_loads"), "unpickles (use vcpipe.packs.decode)"),
    **dict.fromkeys(("faster_whisper.download_model", "socket.create_connection"), "is not vcpipe.fetch"),
}
IN_PLACE = ("torch.load", "numpy.load")
"""Only to be called in place by their full name, where the arguments are seen."""
METHODS = {"extractall": "take the members that are wanted, by name", "from_pretrained": "downloads by name"}
METHODS |= {"read_pickle": "unpickles", "to_pickle": "pickles", "load_state_dict_from_url": "use vcpipe.weights"}
SHELLS = {"os": ("exec", "spawn"), "subprocess": ("getoutput",)}
PLAIN_HTTP = re.compile(r"http://(?!127\.0\.0\.1|www\.w3\.org/)")
DYNAMIC = {"os", "subprocess", "builtins", "yaml"}
"""Modules of which no name may be looked up at run time; of the others, no banned name."""


def findings(source: str, path: str = "") -> list[str]:
    """What is banned in a file's text, as `line: what`; `path` decides what one file alone may do."""
    tree = ast.parse(source)
    known = _imported(tree)
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    out = []
    for node in ast.walk(tree):
        for what in _banned(node, known, called, path):
            out.append(f"{node.lineno}: {what}")  # type: ignore[attr-defined]
    return out


def _imported(tree: ast.AST) -> dict[str, str]:
    """The full names behind a file's names."""
    known = dict(USUAL)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            known |= {a.asname: a.name for a in node.names if a.asname}
            known |= {(top := a.name.partition(".")[0]): top for a in node.names if not a.asname}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            known |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return known


def _full(node: ast.AST, known: dict[str, str]) -> str:
    """The full dotted name of an expression; empty when it is none."""
    if isinstance(node, ast.Name):
        return known.get(node.id, node.id).removeprefix("builtins.")
    if isinstance(node, ast.Attribute) and (owner := _full(node.value, known)):
        return f"{owner}.{node.attr}".removeprefix("builtins.")
    return ""


def _banned(node: ast.AST, known: dict[str, str], called: set[int], path: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield from _of_module(alias.name, path)
    elif isinstance(node, ast.ImportFrom) and not node.level:
        for alias in node.names:
            full = f"{node.module}.{alias.name}"
            yield from [*_of_module(str(node.module), path), *_of_module(full, path)][:1] or _of_name(full)
            if full in IN_PLACE:
                yield f"from {node.module} import {alias.name} (call it by its full name)"
    elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
        full = _full(node, known)
        yield from _of_name(full)
        if full in IN_PLACE and id(node) not in called:
            yield f"{full} under another name"
        if isinstance(node, ast.Attribute):
            if node.attr in METHODS:
                yield f".{node.attr} ({METHODS[node.attr]})"
            elif full in {*MODULES, *ONLY_IN}:
                yield from _of_module(full, path)
    elif isinstance(node, ast.Call):
        yield from _of_call(node, known)
    elif isinstance(node, ast.Assign) and any(getattr(t, "attr", "") == "check_hostname" for t in node.targets):
        yield "check_hostname"
    elif isinstance(node, ast.Constant) and path.startswith("vcpipe/") and PLAIN_HTTP.match(str(node.value)):
        yield f"{node.value} (https only)"


def _of_module(name: str, path: str) -> list[str]:
    for banned, why in MODULES.items():
        if name == banned or name.startswith(f"{banned}."):
            return [f"import {name} ({why})"]
    for banned, owner in ONLY_IN.items():
        if (name == banned or name.startswith(f"{banned}.")) and path != owner:
            return [f"import {name} (in {owner} alone)"]
    return []


def _of_name(full: str) -> list[str]:
    owner, _, last = full.rpartition(".")
    if last.startswith(SHELLS.get(owner, ("\0",))):
        return [f"{full} (starts a program or a shell)"]
    return [f"{full} ({NAMES[full]})"] if full in NAMES else []


def _of_call(node: ast.Call, known: dict[str, str]) -> Iterator[str]:
    full, given = _full(node.func, known), {k.arg: k.value for k in node.keywords}
    last = node.func.attr if isinstance(node.func, ast.Attribute) else full
    if full == "torch.load" and not _is(given.get("weights_only"), True):
        yield "torch.load without weights_only=True"
    if full == "numpy.load" and (len(node.args) > 2 or None in given):
        yield "numpy.load with arguments that are not seen"
    if full.endswith(("format.read_array", "format.read_array_header_3_0")) and len(node.args) > 1:
        yield f"{full} with arguments that are not seen"
    if "allow_pickle" in given and not _is(given["allow_pickle"], False):
        yield "allow_pickle"
    if "shell" in given and not _is(given["shell"], False):
        yield "shell=True"
    if full.partition(".")[0] == "subprocess" and len(node.args) > 8:
        yield f"{full} with a shell that is not seen"
    if isinstance(typ := given.get("typ"), ast.Constant) and typ.value == "unsafe":
        yield "typ='unsafe' of a YAML reader"
    if last == "extract" and {"tarfile", "zipfile"} & set(known.values()):
        yield ".extract (use vcpipe.corpora.unpack)"
    if last == "decode" and isinstance(node.func, ast.Attribute) and _mentions(node.func.value, "webdataset", known):
        yield "webdataset's decode (unpickles; use vcpipe.packs.decode)"
    if last == "WhisperModel" and node.args and isinstance(node.args[0], ast.Constant):
        yield "WhisperModel by name (downloads; give a folder)"
    if full in ("importlib.import_module", "__import__") and node.args and isinstance(node.args[0], ast.Constant):
        yield from _of_module(str(node.args[0].value), "")
    if full == "getattr" and len(node.args) > 1 and (owner := _full(node.args[0], known)):
        constant = isinstance(node.args[1], ast.Constant)
        name = f"{owner}.{node.args[1].value}" if constant else ""  # type: ignore[attr-defined]
        if name in IN_PLACE or _of_name(name.removeprefix("builtins.")) or (owner in DYNAMIC and not constant):
            yield f"getattr of {name or owner}"


def _mentions(node: ast.AST, module: str, known: dict[str, str]) -> bool:
    return any(_full(part, known).partition(".")[0] == module for part in ast.walk(node))


def _is(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value
