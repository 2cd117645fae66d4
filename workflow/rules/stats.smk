# stats: manifests and measurements -> tables and a page of each corpus
from vcpipe.report import STATS_REVISION


rule stats_page:
    input:
        manifest="results/audio/{audio}/{corpus}/manifest.csv",
        rejects="results/audio/{audio}/{corpus}/rejects.csv",
        quality=tables("results/audio/{audio}/{corpus}/quality/{shard}.csv"),
        f0=f0_shards,
    output:
        page=report(
            "results/stats/{audio}/{corpus}/index.html",
            caption="../report/stats.rst",
            category="Corpora",
            labels={"corpus": "{corpus}"},
        ),
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
