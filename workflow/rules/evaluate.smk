# evaluate: trials -> reference rows; conversions -> verdicts -> one table
ROWS = [*evaluated.rows(CONFIG), *evaluated.REFERENCE_ROWS]
EVALUATED = evaluated.corpus(CONFIG)
EVALUATED_AUDIO = f"results/audio/{evaluated.copy(CONFIG)}/{EVALUATED}"
EVALUATED_SHARDS = expand("{folder}/{shard}.h5", folder=EVALUATED_AUDIO, shard=shards(EVALUATED))
TRIALS = evaluated.trials(CONFIG) or "results/evaluation/trials.csv"
TARGETS.append("results/report/index.html")


wildcard_constraints:
    row=one_of(ROWS),


rule trials:
    input:
        f"{EVALUATED_AUDIO}/manifest.csv",
    output:
        "results/evaluation/trials.csv",
    log:
        "logs/trials.log",
    localrule: True
    params:
        pairs=CONFIG.evaluate.pairs,
        seed=CONFIG.evaluate.seed,
    shell:
        "vcpipe trials --manifest {input:q} --pairs {params.pairs} --seed {params.seed} --out {output:q} 2> {log:q}"


rule reference_row:
    input:
        manifest=f"{EVALUATED_AUDIO}/manifest.csv",
        audio=EVALUATED_SHARDS,
        trials=TRIALS,
    output:
        pairs="results/demo/{row}/pairs.jsonl",
        about="results/demo/{row}/system.json",
    log:
        "logs/reference_row/{row}.log",
    wildcard_constraints:
        row=one_of(evaluated.REFERENCE_ROWS),
    params:
        cfg=lambda wildcards: canonical(evaluated.reference_slice(CONFIG, wildcards.row)),
        audio=folders("audio"),
    shell:
        "vcpipe reference-row --slice {params.cfg:q} --manifest {input.manifest:q} --audio {params.audio:q} "
        "--trials {input.trials:q} --out {output.pairs:q} 2> {log:q}"


rule judge:
    input:
        pairs="results/demo/{row}/pairs.jsonl",
        about="results/demo/{row}/system.json",
        manifest=f"{EVALUATED_AUDIO}/manifest.csv",
        audio=EVALUATED_SHARDS,
    output:
        rows="results/demo/{row}/judged.jsonl",
        metrics=report(
            "results/demo/{row}/metrics.json",
            caption="../report/metrics.rst",
            category="Evaluation",
            subcategory="Rows",
            labels={"row": "{row}", "file": "figures"},
        ),
        protocol=report(
            "results/demo/{row}/protocol.json",
            caption="../report/protocol.rst",
            category="Evaluation",
            subcategory="Rows",
            labels={"row": "{row}", "file": "protocol"},
        ),
    log:
        "logs/judge/{row}.log",
    benchmark:
        "logs/judge/{row}.tsv"
    threads: 2
    params:
        cfg=canonical(evaluated.judge_slice(CONFIG)),
        audio=folders("audio"),
    shell:
        "vcpipe evaluate --slice {params.cfg:q} --row $(dirname {input.pairs:q}) --manifest {input.manifest:q} "
        "--audio {params.audio:q} --cache results/state/judged --threads {threads} 2> {log:q}"


rule evaluate:
    input:
        protocols=expand("results/demo/{row}/protocol.json", row=ROWS),
    output:
        json="results/evaluation/overview.json",
        csv=report(
            "results/evaluation/overview.csv",
            caption="../report/overview.rst",
            category="Evaluation",
            labels={"row": "all", "file": "table"},
        ),
    log:
        "logs/evaluate.log",
    params:
        rows=expand("results/demo/{row}", row=ROWS),
        revision=evaluated.REVISIONS["table"],
    shell:
        "vcpipe overview --out $(dirname {output.json:q}) {params.rows:q} 2> {log:q}"
