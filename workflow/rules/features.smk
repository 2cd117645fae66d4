# extract: audio shard -> feature shard; derive: feature shards -> feature shard


rule extract:
    input:
        lambda wildcards: audio_of(wildcards, "{shard}.h5"),
    output:
        "results/features/{feature}/{corpus}/{shard}.h5",
    log:
        "logs/extract/{feature}/{corpus}/{shard}.log",
    benchmark:
        "logs/extract/{feature}/{corpus}/{shard}.tsv"
    wildcard_constraints:
        feature=one_of(name for name in CONFIG.features if name not in DERIVED),
    threads: share_of_cores
    params:
        cfg=feature_slice,
    shell:
        "vcpipe extract --slice {params.cfg:q} --audio {input:q} --out {output:q} --threads {threads} 2> {log:q}"


rule fit:
    input:
        reads=lambda wildcards: feature_shards(DERIVED[wildcards.feature].names, DERIVED[wildcards.feature].fitted_on),
        manifest=lambda wildcards: f"results/audio/{CONFIG.copy_of(wildcards.feature)}/{DERIVED[wildcards.feature].fitted_on}/manifest.csv",
    output:
        "results/runs/{feature}/model.safetensors",
    log:
        "logs/fit/{feature}.log",
    benchmark:
        "logs/fit/{feature}.tsv"
    wildcard_constraints:
        feature=one_of(name for name, settings in DERIVED.items() if settings.fitted_on),
    threads: 2
    params:
        cfg=lambda wildcards: canonical(CONFIG.fit_slice(wildcards.feature)),
    shell:
        "vcpipe fit --slice {params.cfg:q} --manifest {input.manifest:q} --out {output:q} {input.reads:q} 2> {log:q}"


rule derive:
    input:
        reads=lambda wildcards: expand(
            "results/features/{of}/{corpus}/{shard}.h5", of=DERIVED[wildcards.feature].names, **wildcards
        ),
        manifest=lambda wildcards: audio_of(wildcards, "manifests/{shard}.csv"),
        model=fitted_model,
    output:
        "results/features/{feature}/{corpus}/{shard}.h5",
    log:
        "logs/derive/{feature}/{corpus}/{shard}.log",
    benchmark:
        "logs/derive/{feature}/{corpus}/{shard}.tsv"
    wildcard_constraints:
        feature=one_of(DERIVED),
    params:
        cfg=feature_slice,
        model=lambda wildcards, input: f"--model {shlex.quote(input.model)}" if input.model else "",
    shell:
        "vcpipe derive --slice {params.cfg:q} --manifest {input.manifest:q} --out {output:q} {params.model} {input.reads:q} "
        "2> {log:q}"


rule features:
    input:
        [feature_shards([feature], corpus) for feature in CONFIG.features for corpus in PRESENT],
