# pack: shards -> tars for a trainer that streams them


rule pack:
    input:
        manifest=lambda wildcards: f"{pack_sources(wildcards.pack)['manifest']}",
        shards=lambda wildcards: pack_sources(wildcards.pack)["shards"],
    output:
        "results/packs/{pack}/index.json",
    log:
        "logs/pack/{pack}.log",
    benchmark:
        "logs/pack/{pack}.tsv"
    wildcard_constraints:
        pack=one_of(CONFIG.packs),
    params:
        cfg=lambda wildcards: canonical(packing.pack_slice(CONFIG, wildcards.pack)),
        columns=lambda wildcards, input: json.dumps(pack_sources(wildcards.pack)["columns"]),
    shell:
        "vcpipe pack --slice {params.cfg:q} --manifest {input.manifest:q} --columns {params.columns:q} --out {output:q} "
        "2> {log:q}"


rule packs:
    input:
        expand("results/packs/{pack}/index.json", pack=CONFIG.packs),
