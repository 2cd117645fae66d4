"""Where the corpora lie on the web: addresses, sizes and checksums. A table; nothing is fetched here.

Where the figures come from (looked up in stored copies; the servers themselves were not asked):

- LibriSpeech, LibriTTS, LJSpeech, VCTK, CMU ARCTIC: SHA-256 of the tables in torchaudio 2.x; sizes of the tables in
  TensorFlow Datasets, which has the same SHA-256 for the first three; VCTK's size is the one that DataShare states.
- Mini LibriSpeech and LibriTTS-R: the MD5 of OpenSLR's own `md5sum.txt`, as several public projects state them alike;
  for `dev-clean-2` two of them state the same SHA-256, which is taken.
- CMU ARCTIC: its home page offers plain http by default; the https address of the same server is used.

An archive without a checksum is only fetched when the user gives one.
"""

from __future__ import annotations

from typing import NamedTuple


class Archive(NamedTuple):
    """One file to fetch: https address, SHA-256 or MD5 in hex (empty: unknown), bytes (0: unknown)."""

    url: str
    checksum: str = ""
    size: int = 0

    @property
    def name(self) -> str:
        """The file name."""
        return self.url.rsplit("/", 1)[-1]


class Source(NamedTuple):
    """A corpus that may be fetched.

    `into` is the folder below `--to` that the archives are unpacked in; `root` is the corpus's root below `--to`, as
    `root` in config.yaml; `home` and `licence` are shown to the user.
    """

    home: str
    licence: str
    root: str
    archives: dict[str, Archive]
    into: str = ""


class Gated(NamedTuple):
    """A corpus that only its owners may hand out."""

    name: str
    home: str
    licence: str


_SLR = "https://www.openslr.org/resources"
_ARCTIC = "https://www.festvox.org/cmu_arctic/packed"


def _openslr(number: int, rows: dict[str, tuple[str, int]], dashes: str = "-") -> dict[str, Archive]:
    return {k: Archive(f"{_SLR}/{number}/{k.replace('-', dashes)}.tar.gz", *row) for k, row in rows.items()}


SOURCES = {
    "librispeech": Source(
        "https://www.openslr.org/12/",
        "CC BY 4.0",
        "LibriSpeech",
        _openslr(
            12,
            {
                "dev-clean": ("76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3", 337926286),
                "dev-other": ("12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365", 314305928),
                "test-clean": ("39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23", 346663984),
                "test-other": ("d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29", 328757843),
                "train-clean-100": ("d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2", 6387309499),
                "train-clean-360": ("146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf", 23049477885),
                "train-other-500": ("ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2", 30593501606),
            },
        ),
    ),
    "mini_librispeech": Source(
        "https://www.openslr.org/31/",
        "CC BY 4.0",
        "LibriSpeech",
        _openslr(
            31,
            {
                "dev-clean-2": ("176ec501490eced2d6c1f89f4f0ddc7dfe799e649e5322f8ba49fe3ff50c8012", 126046265),
                "train-clean-5": ("5df7d4e78065366204ca6845bb08f490", 0),
            },
        ),
    ),
    "ljspeech": Source(
        "https://keithito.com/LJ-Speech-Dataset/",
        "public domain",
        "LJSpeech-1.1",
        {
            "1.1": Archive(
                "https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2",
                "be1a30453f28eb8dd26af4101ae40cbf2c50413b1bb21936cbcdc6fae3de8aa5",
                2748572632,
            )
        },
    ),
    "vctk": Source(
        "https://datashare.ed.ac.uk/handle/10283/3443",
        "CC BY 4.0",
        "VCTK-Corpus-0.92",
        {
            "0.92": Archive(
                "https://datashare.ed.ac.uk/bitstream/handle/10283/3443/VCTK-Corpus-0.92.zip",
                "f96258be9fdc2cbff6559541aae7ea4f59df3fcaf5cf963aae5ca647357e359c",
                11747302977,
            )
        },
        into="VCTK-Corpus-0.92",  # the zip has no folder of its own
    ),
    "libritts": Source(
        "https://www.openslr.org/60/",
        "CC BY 4.0",
        "LibriTTS",
        _openslr(
            60,
            {
                "dev-clean": ("da0864e1bd26debed35da8a869dd5c04dfc27682921936de7cff9c8a254dbe1a", 1291469655),
                "dev-other": ("d413eda26f3a152ac7c9cf3658ef85504dfb1b625296e5fa83727f5186cca79c", 924804676),
                "test-clean": ("234ea5b25859102a87024a4b9b86641f5b5aaaf1197335c95090cde04fe9a4f5", 1230670113),
                "test-other": ("33a5342094f3bba7ccc2e0500b9e72d558f72eb99328ac8debe1d9080402f10d", 964502297),
                "train-clean-100": ("c5608bf1ef74bb621935382b8399c5cdd51cd3ee47cec51f00f885a64c6c7f6b", 7723686890),
                "train-clean-360": ("ce7cff44dcac46009d18379f37ef36551123a1dc4e5c8e4eb73ae57260de4886", 27504073644),
                "train-other-500": ("e35f7e34deeb2e2bdfe4403d88c8fdd5fbf64865cae41f027a185a6965f0a5df", 44565031479),
            },
        ),
    ),
    "libritts_r": Source(
        "https://www.openslr.org/141/",
        "CC BY 4.0",
        "LibriTTS_R",
        _openslr(
            141,
            {
                "dev-clean": ("2c1f5312914890634cc2d15783032ff3", 0),
                "dev-other": ("62d3a80ad8a282b6f31b3904f0507e4f", 0),
                "test-clean": ("4d373d453eb96c0691e598061bbafab7", 0),
                "test-other": ("dbc0959d8bdb6d52200595cabc9995ae", 0),
                "train-clean-100": ("6df668d8f5f33e70876bfa33862ad02b", 0),
                "train-clean-360": ("382eb3e64394b3da6a559f864339b22c", 0),
                "train-other-500": ("a37a8e9f4fe79d20601639bf23d1add8", 0),
                # lists of the recordings whose restoration failed; no checksum could be found
                "libritts-r-failed-speech-restoration-examples": ("", 0),
            },
            dashes="_",
        ),
    ),
    "cmu_arctic": Source(
        "http://www.festvox.org/cmu_arctic/",
        "free for all uses, with the notice of Carnegie Mellon University",
        "ARCTIC",
        {
            speaker: Archive(f"{_ARCTIC}/cmu_us_{speaker}_arctic.tar.bz2", checksum)
            for speaker, checksum in {
                "aew": "645cb33c0f0b2ce41384fdd8d3db2c3f5fc15c1e688baeb74d2e08cab18ab406",
                "ahw": "024664adeb892809d646a3efd043625b46b5bfa3e6189b3500b2d0d59dfab06c",
                "aup": "2c55bc3050caa996758869126ad10cf42e1441212111db034b3a45189c18b6fc",
                "awb": "d74a950c9739a65f7bfc4dfa6187f2730fa03de5b8eb3f2da97a51b74df64d3c",
                "axb": "dd65c3d2907d1ee52f86e44f578319159e60f4bf722a9142be01161d84e330ff",
                "bdl": "26b91aaf48b2799b2956792b4632c2f926cd0542f402b5452d5adecb60942904",
                "clb": "3f16dc3f3b97955ea22623efb33b444341013fc660677b2e170efdcc959fa7c6",
                "eey": "8a0ee4e5acbd4b2f61a4fb947c1730ab3adcc9dc50b195981d99391d29928e8a",
                "fem": "3fcff629412b57233589cdb058f730594a62c4f3a75c20de14afe06621ef45e2",
                "gka": "dc82e7967cbd5eddbed33074b0699128dbd4482b41711916d58103707e38c67f",
                "jmk": "3a37c0e1dfc91e734fdbc88b562d9e2ebca621772402cdc693bbc9b09b211d73",
                "ksp": "8029cafce8296f9bed3022c44ef1e7953332b6bf6943c14b929f468122532717",
                "ljm": "b23993765cbf2b9e7bbc3c85b6c56eaf292ac81ee4bb887b638a24d104f921a0",
                "lnh": "4faf34d71aa7112813252fb20c5433e2fdd9a9de55a00701ffcbf05f24a5991a",
                "rms": "c6dc11235629c58441c071a7ba8a2d067903dfefbaabc4056d87da35b72ecda4",
                "rxr": "1fa4271c393e5998d200e56c102ff46fcfea169aaa2148ad9e9469616fbfdd9b",
                "slp": "54345ed55e45c23d419e9a823eef427f1cc93c83a710735ec667d068c916abf1",
                "slt": "7c173297916acf3cc7fcab2713be4c60b27312316765a90934651d367226b4ea",
            }.items()
        },
        into="ARCTIC",
    ),
}

_VOXCELEB = (
    "https://www.robots.ox.ac.uk/~vgg/data/voxceleb/",
    "on request; CC BY 4.0 for the lists, the videos stay with their owners",
)
_OPENSINGER = Gated("OpenSinger", "https://github.com/Multi-Singer/Multi-Singer.github.io", "CC BY-NC-SA 2.0")
GATED = {
    "voxceleb1": Gated("VoxCeleb1", *_VOXCELEB),
    "voxceleb2": Gated("VoxCeleb2", *_VOXCELEB),
    "timit": Gated("TIMIT", "https://catalog.ldc.upenn.edu/LDC93S1", "the user agreement of the LDC, paid"),
    "jvs": Gated(
        "JVS",
        "https://sites.google.com/site/shinnosuketakamichi/research-topics/jvs_corpus",
        "research and other non-commercial use; texts CC BY-SA 4.0",
    ),
    "databaker": Gated("DataBaker BZNSYP", "https://www.data-baker.com/open_source.html", "non-commercial use only"),
    "m4singer": Gated(
        "M4Singer", "https://github.com/M4Singer/M4Singer/blob/master/apply_form.md", "CC BY-NC-SA 4.0, by e-mail"
    ),
    "opencpop": Gated("Opencpop", "https://wenet.org.cn/opencpop/", "CC BY-NC-ND 4.0, by application"),
    "popcs": Gated(
        "PopCS",
        "https://github.com/MoonInTheRiver/DiffSinger/blob/master/resources/apply_form.md",
        "CC BY-NC-SA 4.0, by e-mail",
    ),
    "multisinger": _OPENSINGER,
    "opensinger": _OPENSINGER,
}
