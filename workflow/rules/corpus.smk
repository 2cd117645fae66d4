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
        shard="results/audio/{audio}/{corpus}/{shard}.h5",
        manifest="results/audio/{audio}/{corpus}/manifests/{shard}.csv",
        rejects="results/audio/{audio}/{corpus}/rejects/{shard}.csv",
        quality="results/audio/{audio}/{corpus}/quality/{shard}.csv",
    log:
        "logs/prepare_audio/{audio}/{corpus}/{shard}.log",
    benchmark:
        "logs/prepare_audio/{audio}/{corpus}/{shard}.tsv"
    threads: share_of_cores
    params:
        cfg=audio_slice,
        planned_for=planned_for("results/corpora/{corpus}/lists/{shard}.csv"),
        root=root_of,
    shell:
        "vcpipe prepare --slice {params.cfg:q} --root {params.root:q} --listed {input.listed:q} --shard {output.shard:q} "
        "--manifest {output.manifest:q} --rejects {output.rejects:q} --quality {output.quality:q} --threads {threads} "
        "2> {log:q}"


rule manifest:
    input:
        manifests=tables("results/audio/{audio}/{corpus}/manifests/{shard}.csv"),
        rejects=tables("results/audio/{audio}/{corpus}/rejects/{shard}.csv"),
        splits=tables("results/corpora/{corpus}/splits/{shard}.csv"),
        duplicates="results/corpora/{corpus}/lists/rejects.csv",
    output:
        manifest="results/audio/{audio}/{corpus}/manifest.csv",
        rejects="results/audio/{audio}/{corpus}/rejects.csv",
    log:
        "logs/manifest/{audio}/{corpus}.log",
    localrule: True
    params:
        shards=lambda wildcards: CONFIG.corpus(wildcards.corpus, "corpora").shards,
        max_reject_share=max_reject_share_of,
    shell:
        "vcpipe gather --corpus results/corpora/{wildcards.corpus} --audio results/audio/{wildcards.audio}/{wildcards.corpus} "
        "--shards {params.shards} --max-reject-share {params.max_reject_share} 2> {log:q}"


rule words:
    input:
        listed="results/corpora/{corpus}/lists/{shard}.csv",
        made=made_corpus,
    output:
        "results/corpora/{corpus}/words/{shard}.jsonl",
    log:
        "logs/words/{corpus}/{shard}.log",
    params:
        cfg=corpus_settings,
        planned_for=planned_for("results/corpora/{corpus}/lists/{shard}.csv"),
        alignments=alignments_of,
    shell:
        "vcpipe words --corpus {params.cfg:q} --listed {input.listed:q} --out {output:q} 2> {log:q}"


rule alignments:
    input:
        [word_tables(corpus) for corpus in PRESENT if has_alignments(corpus)],


rule speakers:
    input:
        listed=tables("results/corpora/{corpus}/lists/{shard}.csv"),
        made=made_corpus,
    output:
        "results/corpora/{corpus}/speakers.json",
    log:
        "logs/speakers/{corpus}.log",
    localrule: True
    params:
        cfg=corpus_settings,
    shell:
        "vcpipe speakers --corpus {params.cfg:q} --out {output:q} 2> {log:q}"
