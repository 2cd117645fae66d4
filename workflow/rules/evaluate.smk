# evaluate: converted recordings -> metrics


rule judge:
    input:
        pairs="results/demo/{system}/pairs.jsonl",
        manifest=lambda wildcards: f"{audio_folder(wildcards.system, demo_corpus(wildcards))}/manifest.csv",
        audio=lambda wildcards: audio_shards(wildcards.system, demo_corpus(wildcards)),
    output:
        metrics="results/demo/{system}/metrics.json",
        rows="results/demo/{system}/judged.jsonl",
    log:
        "logs/judge/{system}.log",
    benchmark:
        "logs/judge/{system}.tsv"
    threads: 2
    params:
        cfg=judge_slice,
        audio=folders("audio"),
    shell:
        "vcpipe evaluate --slice {params.cfg:q} --pairs {input.pairs:q} --manifest {input.manifest:q} "
        "--audio {params.audio:q} --metrics {output.metrics:q} --rows {output.rows:q} --threads {threads} 2> {log:q}"
