# kNN-VC: units -> pre-matched units -> HiFi-GAN -> conversions
from vcpipe.systems.knnvc import config as knnvc

KNNVC = CONFIG.systems["knnvc"]
KNNVC_COPY = KNNVC.copy_in(CONFIG)
TARGETS.append("results/demo/knnvc/index.html")

for corpus in PRESENT:
    distrust_shards("results/features/prematched", corpus, knnvc.prematch_slice(CONFIG, corpus))
    if KNNVC.streams:
        distrust_shards("results/features/unmatched", corpus, knnvc.unmatched_slice(CONFIG, corpus))
for run in ("hifigan", "hifigan_prematched"):
    distrust(
        {f"results/runs/{run}/config.json": canonical(knnvc.run_slice(CONFIG, prematched=run.endswith("prematched")))}
    )
RESUMED.extend(["train_hifigan", "train_hifigan_prematched"])


STREAM_SHARD = "results/features/{feature}/{corpus}/{shard}.h5"
STREAM_SHARDS = [STREAM_SHARD.replace("{feature}", feature) for feature in KNNVC.streams.values()]


rule prematch:
    input:
        match=f"results/features/{KNNVC.match}/{{corpus}}/{{shard}}.h5",
        synthesis=f"results/features/{KNNVC.units}/{{corpus}}/{{shard}}.h5",
        streams=STREAM_SHARDS,
        manifest=f"results/audio/{KNNVC_COPY}/{{corpus}}/manifests/{{shard}}.csv",
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
        planned_for=planned_for("results/corpora/{corpus}/splits/{shard}.csv"),
        streams=stream_options(KNNVC.streams, STREAM_SHARD),
    shell:
        "vcpipe knnvc prematch --slice {params.cfg:q} --match {input.match:q} --synthesis {input.synthesis:q} "
        "--manifest {input.manifest:q} --splits {input.splits:q} --out {output:q} --threads {threads} "
        "{params.streams:q} 2> {log:q}"


if KNNVC.streams:

    rule unmatched:
        input:
            synthesis=f"results/features/{KNNVC.units}/{{corpus}}/{{shard}}.h5",
            streams=STREAM_SHARDS,
        output:
            "results/features/unmatched/{corpus}/{shard}.h5",
        log:
            "logs/unmatched/{corpus}/{shard}.log",
        benchmark:
            "logs/unmatched/{corpus}/{shard}.tsv"
        threads: 1
        params:
            cfg=lambda wildcards: canonical(knnvc.unmatched_slice(CONFIG, wildcards.corpus)),
            streams=stream_options(KNNVC.streams, STREAM_SHARD),
        shell:
            "vcpipe knnvc unmatched --slice {params.cfg:q} --synthesis {input.synthesis:q} --out {output:q} "
            "{params.streams:q} 2> {log:q}"


# A training is told to stop by a signal to every process of its job, and then has seconds to save its state. So it
# takes the place of its shell (`exec`), whose death would end the job at once, and the writer of its log outlives the
# signal.
rule train_hifigan:
    input:
        manifest=f"{audio_folder('knnvc', KNNVC.corpus)}/manifest.csv",
        audio=audio_shards("knnvc", KNNVC.corpus),
        units=feature_shards(KNNVC.variants(prematched=False), KNNVC.corpus),
    output:
        multiext("results/runs/hifigan/", "model.safetensors", "config.json", "metrics.csv"),
    log:
        "logs/train_hifigan.log",
    benchmark:
        "logs/train_hifigan.tsv"
    threads: 16
    params:
        cfg=canonical(knnvc.run_slice(CONFIG, prematched=False)),
        audio=folders("audio"),
        units=folders("units"),
        machine=lambda wildcards, input: KNNVC.machine(),
        trainer=trainer,
    shell:
        "exec {params.trainer} knnvc train --slice {params.cfg:q} --manifest {input.manifest:q} --audio {params.audio:q} "
        "--state results/state --out results/runs/hifigan --threads {threads} "
        "--machine {params.machine:q} {params.units:q} "
        "2> >(trap '' INT TERM USR1; exec tee {log:q} >&2)"


rule train_hifigan_prematched:
    input:
        manifest=f"{audio_folder('knnvc', KNNVC.corpus)}/manifest.csv",
        audio=audio_shards("knnvc", KNNVC.corpus),
        units=feature_shards(KNNVC.variants(prematched=True), KNNVC.corpus),
    output:
        multiext("results/runs/hifigan_prematched/", "model.safetensors", "config.json", "metrics.csv"),
    log:
        "logs/train_hifigan_prematched.log",
    benchmark:
        "logs/train_hifigan_prematched.tsv"
    threads: 16
    params:
        cfg=canonical(knnvc.run_slice(CONFIG, prematched=True)),
        audio=folders("audio"),
        units=folders("units"),
        machine=lambda wildcards, input: KNNVC.machine(),
        trainer=trainer,
    shell:
        "exec {params.trainer} knnvc train --slice {params.cfg:q} --manifest {input.manifest:q} --audio {params.audio:q} "
        "--state results/state --out results/runs/hifigan_prematched --threads {threads} "
        "--machine {params.machine:q} {params.units:q} "
        "2> >(trap '' INT TERM USR1; exec tee {log:q} >&2)"


rule render_knnvc:
    input:
        run=lambda wildcards: multiext(f"{KNNVC.run_of(wildcards.row)}/", "model.safetensors", "config.json"),
        manifest=f"{audio_folder('knnvc', EVALUATED)}/manifest.csv",
        audio=audio_shards("knnvc", EVALUATED),
        match=feature_shards([KNNVC.match], EVALUATED),
        synthesis=feature_shards([KNNVC.units], EVALUATED),
        streams=feature_shards(KNNVC.streams.values(), EVALUATED),
        trials=TRIALS,
    output:
        pairs="results/demo/{row}/pairs.jsonl",
        about="results/demo/{row}/system.json",
    log:
        "logs/render_knnvc/{row}.log",
    benchmark:
        "logs/render_knnvc/{row}.tsv"
    wildcard_constraints:
        row=one_of(KNNVC.all_rows),
    threads: 2
    params:
        cfg=lambda wildcards: canonical(knnvc.render_slice(CONFIG, wildcards.row)),
        run=lambda wildcards, input: KNNVC.run_of(wildcards.row),
        audio=folders("audio"),
        match=folders("match"),
        synthesis=folders("synthesis"),
        streams=stream_options(KNNVC.streams, f"results/features/{{feature}}/{EVALUATED}"),
    shell:
        "vcpipe knnvc render --slice {params.cfg:q} --run {params.run:q} --manifest {input.manifest:q} "
        "--audio {params.audio:q} --match {params.match:q} --synthesis {params.synthesis:q} --trials {input.trials:q} "
        "--out {output.pairs:q} --threads {threads} {params.streams:q} 2> {log:q}"
