# Soft-VC: units, pitch and dynamics -> mels of the voices of a corpus -> vocoder -> conversions
from vcpipe.systems.softvc import config as softvc
from vcpipe.systems.softvc import slices

SOFTVC = CONFIG.systems["softvc"]
SOFTVC_COPY = SOFTVC.copy_in(CONFIG)
TARGETS.append("results/demo/softvc/index.html")

for corpus in SOFTVC.corpora():
    distrust({softvc.statistics_file(corpus): canonical(softvc.statistics_slice(CONFIG, corpus))})
for name, (condition, refined) in SOFTVC.acoustics.items():
    distrust({f"results/runs/{name}/config.json": canonical(softvc.run_slice(CONFIG, condition, refined))})
distrust({"results/runs/soft_vocoder/config.json": canonical(softvc.vocoder_slice(CONFIG))})
for corpus in PRESENT:
    distrust({softvc.coverage_file(corpus): canonical(softvc.coverage_slice(CONFIG, corpus))})
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


rule check_coverage:
    input:
        target=lambda wildcards: feature_shards([SOFTVC.units], wildcards.corpus),
        target_manifest=f"results/audio/{SOFTVC_COPY}/{{corpus}}/manifest.csv",
        reference=feature_shards([SOFTVC.units], SOFTVC.corpus),
        reference_manifest=f"results/audio/{SOFTVC_COPY}/{SOFTVC.corpus}/manifest.csv",
        model=softvc.counted_by(CONFIG),
    output:
        "results/softvc/coverage/{corpus}.json",
    log:
        "logs/check_coverage/{corpus}.log",
    params:
        cfg=lambda wildcards: canonical(softvc.coverage_slice(CONFIG, wildcards.corpus)),
        target=folders("target"),
        reference=folders("reference"),
        model=lambda wildcards, input: softvc.option("model", input.model),
    shell:
        "vcpipe softvc coverage --slice {params.cfg:q} --target {params.target:q} --target-manifest "
        "{input.target_manifest:q} --reference {params.reference:q} --reference-manifest {input.reference_manifest:q} "
        "--out {output:q} {params.model:q} 2> {log:q}"


if SOFTVC.refine:

    rule softvc_coverage:
        input:
            softvc.coverage_file(SOFTVC.refine.corpus),


if SOFTVC.literal:

    LITERAL_COPY = CONFIG.copy_of(SOFTVC.literal.encoder)
    RESUMED.extend(["train_hubert_pits", "train_hubert_dyns"])
    for role in softvc.ROLES:
        distrust({f"results/runs/hubert_{role}/config.json": canonical(softvc.classifier_slice(CONFIG, role))})
    for corpus in PRESENT:
        for name in SOFTVC.embedded:
            distrust_shards(f"results/features/{name}", corpus, softvc.embed_slice(CONFIG, corpus, name))

    rule train_hubert_pits:
        input:
            manifest=f"results/audio/{LITERAL_COPY}/{SOFTVC.corpus}/manifest.csv",
            audio=expand(f"results/audio/{LITERAL_COPY}/{SOFTVC.corpus}/{{shard}}.h5", shard=shards(SOFTVC.corpus)),
            labels=feature_shards([SOFTVC.literal.pits], SOFTVC.corpus),
        output:
            multiext("results/runs/hubert_pits/", "model.safetensors", "config.json", "metrics.csv"),
        log:
            "logs/train_hubert_pits.log",
        benchmark:
            "logs/train_hubert_pits.tsv"
        threads: 16
        params:
            cfg=canonical(softvc.classifier_slice(CONFIG, "pits")),
            audio=folders("audio"),
            labels=folders("labels"),
            machine=lambda wildcards, input: SOFTVC.literal.machine(),
            trainer=trainer,
        shell:
            "exec {params.trainer} softvc train-classifier --slice {params.cfg:q} --manifest {input.manifest:q} "
            "--audio {params.audio:q} --labels {params.labels:q} --state results/state "
            "--out results/runs/hubert_pits --threads {threads} --machine {params.machine:q} "
            "2> >(trap '' INT TERM USR1; exec tee {log:q} >&2)"

    rule train_hubert_dyns:
        input:
            manifest=f"results/audio/{LITERAL_COPY}/{SOFTVC.corpus}/manifest.csv",
            audio=expand(f"results/audio/{LITERAL_COPY}/{SOFTVC.corpus}/{{shard}}.h5", shard=shards(SOFTVC.corpus)),
            labels=feature_shards([SOFTVC.literal.dyns], SOFTVC.corpus),
        output:
            multiext("results/runs/hubert_dyns/", "model.safetensors", "config.json", "metrics.csv"),
        log:
            "logs/train_hubert_dyns.log",
        benchmark:
            "logs/train_hubert_dyns.tsv"
        threads: 16
        params:
            cfg=canonical(softvc.classifier_slice(CONFIG, "dyns")),
            audio=folders("audio"),
            labels=folders("labels"),
            machine=lambda wildcards, input: SOFTVC.literal.machine(),
            trainer=trainer,
        shell:
            "exec {params.trainer} softvc train-classifier --slice {params.cfg:q} --manifest {input.manifest:q} "
            "--audio {params.audio:q} --labels {params.labels:q} --state results/state "
            "--out results/runs/hubert_dyns --threads {threads} --machine {params.machine:q} "
            "2> >(trap '' INT TERM USR1; exec tee {log:q} >&2)"

    rule train_hubert_pitdyn:
        input:
            expand("results/runs/hubert_{role}/model.safetensors", role=softvc.ROLES),

    rule embed_pitdyn:
        input:
            units=f"results/features/{SOFTVC.units}/{{corpus}}/{{shard}}.h5",
            audio=lambda wildcards: expand(
                "results/audio/{copy}/{corpus}/{shard}.h5",
                copy=CONFIG.copy_of(SOFTVC.embedded[wildcards.pitdyn]),
                **wildcards,
            ),
            pits=multiext("results/runs/hubert_pits/", "model.safetensors", "config.json"),
            dyns=multiext("results/runs/hubert_dyns/", "model.safetensors", "config.json"),
        output:
            "results/features/{pitdyn}/{corpus}/{shard}.h5",
        log:
            "logs/embed_pitdyn/{pitdyn}/{corpus}/{shard}.log",
        benchmark:
            "logs/embed_pitdyn/{pitdyn}/{corpus}/{shard}.tsv"
        wildcard_constraints:
            pitdyn=one_of(SOFTVC.embedded),
        threads: share_of_cores
        params:
            cfg=lambda wildcards: canonical(softvc.embed_slice(CONFIG, wildcards.corpus, wildcards.pitdyn)),
        shell:
            "vcpipe softvc embed --slice {params.cfg:q} --units {input.units:q} --audio {input.audio:q} "
            "--pits results/runs/hubert_pits --dyns results/runs/hubert_dyns --out {output:q} --threads {threads} "
            "2> {log:q}"


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
        classifiers=lambda wildcards: expand(
            "{folder}/{name}",
            folder=softvc.classifiers(SOFTVC, wildcards.acoustic).values(),
            name=["model.safetensors", "config.json"],
        ),
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
        classifiers=lambda wildcards, input: [
            part
            for role, run in softvc.classifiers(SOFTVC, wildcards.acoustic).items()
            for part in softvc.option(role, [run])
        ],
        machine=lambda wildcards, input: SOFTVC.machine(wildcards.acoustic),
        out=lambda wildcards, input: f"results/runs/{wildcards.acoustic}",
        trainer=trainer,
    shell:
        "exec {params.trainer} softvc train --slice {params.cfg:q} {params.data:q} --state results/state "
        "--out {params.out:q} --threads {threads} --machine {params.machine:q} {params.units:q} {params.base:q} "
        "{params.classifiers:q} 2> >(trap '' INT TERM USR1; exec tee {log:q} >&2)"


rule train_soft_acoustic:
    input:
        "results/runs/soft_acoustic/model.safetensors",


if SOFTVC.condition != "none":

    rule train_pitdyn:
        input:
            f"results/runs/{softvc.run_name(SOFTVC.condition)}/model.safetensors",


if SOFTVC.refine and SOFTVC.condition != "none":

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
        run=lambda wildcards: expand(
            "{folder}/{name}",
            folder=slices.acoustic_of_row(SOFTVC, wildcards.row),
            name=["model.safetensors", "config.json"],
        ),
        vocoder=multiext("results/runs/soft_vocoder/", "model.safetensors", "config.json"),
        manifest=f"{audio_folder('softvc', EVALUATED)}/manifest.csv",
        streams=lambda wildcards: feature_shards(slices.streams_of_row(SOFTVC, wildcards.row).values(), EVALUATED),
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
        run=lambda wildcards, input: softvc.option("run", slices.acoustic_of_row(SOFTVC, wildcards.row)),
        streams=lambda wildcards, input: stream_options(
            slices.streams_of_row(SOFTVC, wildcards.row), f"results/features/{{feature}}/{EVALUATED}"
        )(wildcards, input),
    shell:
        "vcpipe softvc render --slice {params.cfg:q} {params.run:q} --vocoder results/runs/soft_vocoder "
        "--manifest {input.manifest:q} --trials {input.trials:q} --out {output.pairs:q} --threads {threads} "
        "{params.streams:q} 2> {log:q}"
