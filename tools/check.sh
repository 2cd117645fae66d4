#!/usr/bin/env bash
# Runs every check, also after one has failed, and says at the end which did.
set -u
cd "$(dirname "$0")/.." || exit 1
failed=()

run() {
    local name=$1
    shift
    echo "== $name"
    "$@" || failed+=("$name")
}

run "ruff check" ruff check .
run "ruff format" ruff format --check .
run "mypy" mypy
run "snakefmt" snakefmt --check Snakefile workflow
run "snakemake --lint" snakemake --lint
run "import rules" lint-imports

if ((${#failed[@]})); then
    printf 'failed: %s\n' "${failed[@]}"
    exit 1
fi
echo "all checks passed"
