# report: recordings and metrics -> pages
from vcpipe.report import PAGE_REVISION, SITE_REVISION


rule demo_page:
    input:
        pairs="results/demo/{row}/pairs.jsonl",
        protocol="results/demo/{row}/protocol.json",
        audio=EVALUATED_SHARDS,
    output:
        report(
            "results/demo/{row}/index.html", caption="../report/demo.rst", category="Demo", labels={"system": "{row}"}
        ),
    log:
        "logs/demo_page/{row}.log",
    wildcard_constraints:
        row=one_of(CONFIG.systems),
    localrule: True
    params:
        cfg=canonical(evaluated.audio_slice(CONFIG)),
        page=f"page-revision={PAGE_REVISION}",
        audio=folders("audio"),
    shell:
        "vcpipe demo-page --slice {params.cfg:q} --row $(dirname {output:q}) --audio {params.audio:q} 2> {log:q}"


rule demo:
    input:
        expand("results/demo/{system}/index.html", system=CONFIG.systems),


rule report:
    input:
        protocols=expand("results/demo/{row}/protocol.json", row=ROWS),
        overview="results/evaluation/overview.json",
        audio=EVALUATED_SHARDS,
        stats=f"results/stats/{evaluated.copy(CONFIG)}/{EVALUATED}/index.html",
        speakers=f"results/corpora/{EVALUATED}/speakers.json",
    output:
        "results/report/index.html",
    log:
        "logs/report.log",
    params:
        cfg=canonical(evaluated.audio_slice(CONFIG)),
        page=f"site-revision={SITE_REVISION}",
        rows=expand("results/demo/{row}", row=ROWS),
        audio=folders("audio"),
    shell:
        "vcpipe report --slice {params.cfg:q} --overview {input.overview:q} --audio {params.audio:q} "
        "--speakers {input.speakers:q} --out $(dirname {output:q}) {params.rows:q} 2> {log:q}"
