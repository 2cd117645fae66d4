# extract: audio shard -> feature shard


rule extract:
    input:
        "results/audio/{corpus}/{shard}.h5",
    output:
        "results/features/{feature}/{corpus}/{shard}.h5",
    log:
        "logs/extract/{feature}/{corpus}/{shard}.log",
    benchmark:
        "logs/extract/{feature}/{corpus}/{shard}.tsv"
    threads: 1
    params:
        cfg=feature_slice,
    shell:
        "vcpipe extract --slice {params.cfg:q} --audio {input:q} --out {output:q} --threads {threads} 2> {log:q}"
