# report: recordings and metrics -> pages
from vcpipe.report import PAGE_REVISION, STATS_REVISION


rule demo_page:
    input:
        pairs="results/demo/{system}/pairs.jsonl",
        rows="results/demo/{system}/judged.jsonl",
        metrics="results/demo/{system}/metrics.json",
    output:
        "results/demo/{system}/index.html",
    log:
        "logs/demo_page/{system}.log",
    localrule: True
    params:
        cfg=f"page-revision={PAGE_REVISION}",
    shell:
        "vcpipe report --demo $(dirname {output:q}) 2> {log:q}"


rule demo:
    input:
        expand("results/demo/{system}/index.html", system=CONFIG.systems),


rule stats_page:
    input:
        manifest="results/audio/{audio}/{corpus}/manifest.csv",
        rejects="results/audio/{audio}/{corpus}/rejects.csv",
        quality=tables("results/audio/{audio}/{corpus}/quality/{shard}.csv"),
        f0=f0_shards,
    output:
        page=report("results/stats/{audio}/{corpus}/index.html", category="Corpora", labels={"corpus": "{corpus}"}),
        tables=multiext(
            "results/stats/{audio}/{corpus}/", "utterances.csv", "speakers.csv", "corpus.csv", "corpus.json"
        ),
    log:
        "logs/stats_page/{audio}/{corpus}.log",
    params:
        shards=lambda wildcards: CONFIG.corpus(wildcards.corpus, "corpora").shards,
        page=f"page-revision={STATS_REVISION}",
        f0=f0_options,
    shell:
        "vcpipe stats --audio $(dirname {input.manifest:q}) --shards {params.shards} --out $(dirname {output.page:q}) "
        "{params.f0} 2> {log:q}"


rule stats:
    input:
        expand("results/stats/{audio}/{corpus}/index.html", audio=CONFIG.audio, corpus=PRESENT),
