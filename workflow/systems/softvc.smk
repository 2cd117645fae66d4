# Soft-VC: units, pitch and dynamics -> mels of the voices of a corpus -> vocoder -> conversions
from vcpipe.systems.softvc import config as softvc

SOFTVC = CONFIG.systems["softvc"]
SOFTVC_COPY = SOFTVC.copy_in(CONFIG)
TARGETS.append("results/demo/softvc/index.html")

for corpus in SOFTVC.corpora():
    distrust({softvc.statistics_file(corpus): canonical(softvc.statistics_slice(CONFIG, corpus))})
for name, (condition, refined) in SOFTVC.acoustics.items():
    distrust({f"results/runs/{name}/config.json": canonical(softvc.run_slice(CONFIG, condition, refined))})
distrust({"results/runs/soft_vocoder/config.json": canonical(softvc.vocoder_slice(CONFIG))})
RESUMED.extend(["train_acoustic", "train_soft_vocoder"])


wildcard_constraints:
    acoustic=one_of(SOFTVC.acoustics),


rule soft_statistics:
    input:
        manifest=f"results/audio/{SOFTVC_COPY}/{{corpus}}/manifest.csv",
        f0=lambda wildcards: feature_shards([SOFTVC.f0], wildcards.corpus),
        energy=lambda wildcards: feature_shards([SOFTVC.energy], wildcards.corpus),
    output:
        "results/softvc/statistics/{corpus}.json",
    log:
        "logs/soft_statistics/{corpus}.log",
    params:
        cfg=lambda wildcards: canonical(softvc.statistics_slice(CONFIG, wildcards.corpus)),
        f0=folders("f0"),
        energy=folders("energy"),
    shell:
        "vcpipe softvc statistics --slice {params.cfg:q} --manifest {input.manifest:q} --f0 {params.f0:q} "
        "--energy {params.energy:q} --out {output:q} 2> {log:q}"


# As in kNN-VC, a training takes the place of its shell, and the writer of its log outlives the signal that stops it.
rule train_acoustic:
    input:
        manifests=lambda wildcards: expand(
            f"results/audio/{SOFTVC_COPY}/{{corpus}}/manifest.csv", corpus=SOFTVC.read_by(wildcards.acoustic)
        ),
        statistics=lambda wildcards: expand(
            "results/softvc/statistics/{corpus}.json", corpus=SOFTVC.read_by(wildcards.acoustic)
        ),
        shards=lambda wildcards: [
            path
            for corpus, names in SOFTVC.read_by(wildcards.acoustic).items()
            for path in feature_shards(names, corpus)
        ],
        units=softvc.fitted(CONFIG),
        base=lambda wildcards: softvc.base_of(SOFTVC, wildcards.acoustic),
    output:
        multiext("results/runs/{acoustic}/", "model.safetensors", "config.json", "metrics.csv"),
    log:
        "logs/train_acoustic/{acoustic}.log",
    benchmark:
        "logs/train_acoustic/{acoustic}.tsv"
    threads: 16
    params:
        cfg=lambda wildcards: canonical(softvc.run_slice(CONFIG, *SOFTVC.acoustics[wildcards.acoustic])),
        data=lambda wildcards, input: softvc.data_options(CONFIG, wildcards.acoustic),
        units=lambda wildcards, input: softvc.option("units", input.units),
        base=lambda wildcards, input: softvc.option("base", [os.path.dirname(path) for path in input.base[:1]]),
        machine=lambda wildcards, input: SOFTVC.machine(wildcards.acoustic),
        trainer=trainer,
    shell:
        "exec {params.trainer} softvc train --slice {params.cfg:q} {params.data:q} --state results/state "
        "--out $(dirname {output[0]:q}) --threads {threads} --machine {params.machine:q} {params.units:q} "
        "{params.base:q} 2> >(trap '' INT TERM USR1; exec tee {log:q} >&2)"


rule train_soft_acoustic:
    input:
        "results/runs/soft_acoustic/model.safetensors",


rule train_pitdyn:
    input:
        f"results/runs/{softvc.run_name(SOFTVC.condition)}/model.safetensors",


if SOFTVC.refine:

    rule refine_pitdyn:
        input:
            f"results/runs/{softvc.run_name(SOFTVC.condition, refined=True)}/model.safetensors",


rule train_soft_vocoder:
    input:
        manifest=f"{audio_folder('softvc', SOFTVC.corpus)}/manifest.csv",
        audio=audio_shards("softvc", SOFTVC.corpus),
        mels=feature_shards([SOFTVC.heard], SOFTVC.corpus),
    output:
        multiext("results/runs/soft_vocoder/", "model.safetensors", "config.json", "metrics.csv"),
    log:
        "logs/train_soft_vocoder.log",
    benchmark:
        "logs/train_soft_vocoder.tsv"
    threads: 16
    params:
        cfg=canonical(softvc.vocoder_slice(CONFIG)),
        audio=folders("audio"),
        mels=folders("mels"),
        machine=lambda wildcards, input: SOFTVC.vocoder.machine(),
        trainer=trainer,
    shell:
        "exec {params.trainer} softvc train-vocoder --slice {params.cfg:q} --manifest {input.manifest:q} "
        "--audio {params.audio:q} --state results/state --out results/runs/soft_vocoder --threads {threads} "
        "--machine {params.machine:q} {params.mels:q} 2> >(trap '' INT TERM USR1; exec tee {log:q} >&2)"


rule render_softvc:
    input:
        run=lambda wildcards: multiext(f"{SOFTVC.run_of(wildcards.row)}/", "model.safetensors", "config.json"),
        vocoder=multiext("results/runs/soft_vocoder/", "model.safetensors", "config.json"),
        manifest=f"{audio_folder('softvc', EVALUATED)}/manifest.csv",
        units=feature_shards([SOFTVC.units], EVALUATED),
        mel=feature_shards([SOFTVC.mel], EVALUATED),
        f0=feature_shards([SOFTVC.f0], EVALUATED),
        energy=feature_shards([SOFTVC.energy], EVALUATED),
        trials=TRIALS,
    output:
        pairs="results/demo/{row}/pairs.jsonl",
        about="results/demo/{row}/system.json",
    log:
        "logs/render_softvc/{row}.log",
    benchmark:
        "logs/render_softvc/{row}.tsv"
    wildcard_constraints:
        row=one_of(SOFTVC.all_rows),
    threads: 2
    params:
        cfg=lambda wildcards: canonical(softvc.render_slice(CONFIG, wildcards.row)),
        run=lambda wildcards, input: SOFTVC.run_of(wildcards.row),
        streams=stream_options(SOFTVC.streams, f"results/features/{{feature}}/{EVALUATED}"),
    shell:
        "vcpipe softvc render --slice {params.cfg:q} --run {params.run:q} --vocoder results/runs/soft_vocoder "
        "--manifest {input.manifest:q} --trials {input.trials:q} --out {output.pairs:q} --threads {threads} "
        "{params.streams:q} 2> {log:q}"
