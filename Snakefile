# vcpipe: raw recordings -> feature shards -> trained models -> converted voices, judged.
#
#   snakemake --cores all                             everything that config.yaml asks for
#   snakemake --cores 16 train_hifigan_prematched     one model and all it needs
#   snakemake -n                                      what would run, and why
#
# config.yaml says what; profiles/ say where and with how much. Presets are laid over config.yaml:
#   snakemake --cores all --configfile workflow/presets/librispeech.yaml train_hifigan_prematched


configfile: "config.yaml"


report: "workflow/report/workflow.rst"


# Not used unless `--sdm apptainer` asks for it; the jobs run in the environment that runs snakemake (`make env`).
container: "docker://python:3.11-slim"


include: "workflow/rules/common.smk"
include: "workflow/rules/corpus.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/packs.smk"
include: "workflow/rules/stats.smk"


if CONFIG.systems:

    include: "workflow/rules/evaluate.smk"
    include: "workflow/rules/report.smk"


for system in CONFIG.systems:

    include: f"workflow/systems/{system}.smk"


rule all:
    default_target: True
    input:
        TARGETS,
