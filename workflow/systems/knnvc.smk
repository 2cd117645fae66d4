# kNN-VC: units -> pre-matched units -> HiFi-GAN -> conversions
from vcpipe.systems.knnvc import config as knnvc

KNNVC = CONFIG.systems["knnvc"]
TARGETS.append("results/demo/knnvc/index.html")


def knnvc_train(prematched):
    """The command of a vocoder's training; the folders of its units stand in the order of the slice's `variants`."""
    corpus, plain = KNNVC.corpus, KNNVC.units
    variants = (
        ["prematched", plain]
        if prematched and KNNVC.mix_plain
        else ["prematched"] if prematched else [plain]
    )
    units = " ".join(f"--units results/features/{name}/{corpus}" for name in variants)
    return (
        "vcpipe knnvc train --slice {params.cfg:q} --manifest {input.manifest:q} "
        f"--audio results/audio/{corpus} {units} --state results/state "
        "--threads {threads} --out $(dirname {output[0]:q}) 2> {log:q}"
    )


def knnvc_run(prematched):
    """The inputs of a vocoder's training: crops of audio, and of each variant of the units."""
    corpus, units = KNNVC.corpus, KNNVC.units
    matched = feature_shards("prematched", corpus)
    plain = feature_shards(units, corpus)
    return {
        "manifest": f"results/corpora/{corpus}/manifest.csv",
        "audio": audio_shards(corpus),
        "units": (
            matched + plain
            if prematched and KNNVC.mix_plain
            else matched if prematched else plain
        ),
    }


rule prematch:
    input:
        match=f"results/features/{KNNVC.match}/{{corpus}}/{{shard}}.h5",
        synthesis=f"results/features/{KNNVC.units}/{{corpus}}/{{shard}}.h5",
        manifest="results/corpora/{corpus}/manifests/{shard}.csv",
        splits="results/corpora/{corpus}/splits/{shard}.csv",
    output:
        "results/features/prematched/{corpus}/{shard}.h5",
    log:
        "logs/prematch/{corpus}/{shard}.log",
    benchmark:
        "logs/prematch/{corpus}/{shard}.tsv"
    threads: 1
    params:
        cfg=lambda wildcards: canonical(knnvc.prematch_slice(CONFIG, wildcards.corpus)),
    shell:
        "vcpipe knnvc prematch --slice {params.cfg:q} --match {input.match:q} --synthesis {input.synthesis:q} "
        "--manifest {input.manifest:q} --splits {input.splits:q} --out {output:q} --threads {threads} 2> {log:q}"


rule train_hifigan:
    input:
        **knnvc_run(prematched=False),
    output:
        multiext(
            "results/runs/hifigan/", "model.safetensors", "config.json", "metrics.csv"
        ),
    log:
        "logs/train_hifigan.log",
    benchmark:
        "logs/train_hifigan.tsv"
    threads: 16
    params:
        cfg=canonical(knnvc.run_slice(CONFIG, prematched=False)),
    shell:
        knnvc_train(prematched=False)


rule train_hifigan_prematched:
    input:
        **knnvc_run(prematched=True),
    output:
        multiext(
            "results/runs/hifigan_prematched/",
            "model.safetensors",
            "config.json",
            "metrics.csv",
        ),
    log:
        "logs/train_hifigan_prematched.log",
    benchmark:
        "logs/train_hifigan_prematched.tsv"
    threads: 16
    params:
        cfg=canonical(knnvc.run_slice(CONFIG, prematched=True)),
    shell:
        knnvc_train(prematched=True)


rule render_knnvc:
    input:
        run=multiext(
            "results/runs/hifigan_prematched/", "model.safetensors", "config.json"
        ),
        manifest=f"results/corpora/{KNNVC.demo_corpus}/manifest.csv",
        audio=audio_shards(KNNVC.demo_corpus),
        match=feature_shards(KNNVC.match, KNNVC.demo_corpus),
        synthesis=feature_shards(KNNVC.units, KNNVC.demo_corpus),
        trials=KNNVC.demo.trials or [],
    output:
        "results/demo/knnvc/pairs.jsonl",
    log:
        "logs/render_knnvc.log",
    benchmark:
        "logs/render_knnvc.tsv"
    threads: 2
    params:
        cfg=canonical(knnvc.render_slice(CONFIG, prematched=True)),
    shell:
        "vcpipe knnvc render --slice {params.cfg:q} --run results/runs/hifigan_prematched --manifest {input.manifest:q} "
        f"--audio results/audio/{KNNVC.demo_corpus} --match results/features/{KNNVC.match}/{KNNVC.demo_corpus} "
        f"--synthesis results/features/{KNNVC.units}/{KNNVC.demo_corpus} "
        "--trials '{input.trials}' --out {output:q} --threads {threads} 2> {log:q}"
