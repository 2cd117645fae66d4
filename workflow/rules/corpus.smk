# prepare: recordings -> audio shards, manifest, rejects


rule make_corpus:
    output:
        "results/corpora/{corpus}/made.json",
    log:
        "logs/make_corpus/{corpus}.log",
    params:
        cfg=lambda wildcards: canonical(CONFIG.corpus(wildcards.corpus, "corpora").content()),
        root=root_of,
    shell:
        "vcpipe make-corpus --slice {params.cfg:q} --root {params.root:q} --out {output:q} 2> {log:q}"


rule prepare_audio:
    input:
        listed="results/corpora/{corpus}/lists/{shard}.csv",
        made=made_corpus,
    output:
        shard="results/audio/{corpus}/{shard}.h5",
        manifest="results/corpora/{corpus}/manifests/{shard}.csv",
        rejects="results/corpora/{corpus}/rejects/{shard}.csv",
    log:
        "logs/prepare_audio/{corpus}/{shard}.log",
    benchmark:
        "logs/prepare_audio/{corpus}/{shard}.tsv"
    params:
        cfg=audio_slice,
        planned_for=planned_for("results/corpora/{corpus}/lists/{shard}.csv"),
        root=root_of,
    shell:
        "vcpipe prepare --slice {params.cfg:q} --root {params.root:q} --listed {input.listed:q} --shard {output.shard:q} "
        "--manifest {output.manifest:q} --rejects {output.rejects:q} 2> {log:q}"


rule manifest:
    input:
        manifests=tables("manifests"),
        splits=tables("splits"),
        rejects=tables("rejects"),
        duplicates="results/corpora/{corpus}/lists/rejects.csv",
    output:
        manifest="results/corpora/{corpus}/manifest.csv",
        rejects="results/corpora/{corpus}/rejects.csv",
    log:
        "logs/manifest/{corpus}.log",
    params:
        shards=lambda wildcards: CONFIG.corpus(wildcards.corpus, "corpora").shards,
        max_reject_share=max_reject_share_of,
    shell:
        "vcpipe gather --folder results/corpora/{wildcards.corpus} --shards {params.shards} "
        "--max-reject-share {params.max_reject_share} 2> {log:q}"
