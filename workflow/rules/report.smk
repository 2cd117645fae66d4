# report: recordings and metrics -> pages
from vcpipe.report import PAGE_REVISION


rule demo_page:
    input:
        pairs="results/demo/{system}/pairs.jsonl",
        rows="results/demo/{system}/judged.jsonl",
        metrics="results/demo/{system}/metrics.json",
    output:
        "results/demo/{system}/index.html",
    log:
        "logs/demo_page/{system}.log",
    params:
        cfg=f"page-revision={PAGE_REVISION}",
    shell:
        "vcpipe report --demo $(dirname {output:q}) 2> {log:q}"


rule demo:
    input:
        expand("results/demo/{system}/index.html", system=CONFIG.systems),
