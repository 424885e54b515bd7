#!/bin/bash
# Measure the groups of some configs as an array of SLURM jobs. Each job has a node for itself and measures its
# share of the groups: "3/8" is every eighth group from the third on.
#
#     sbatch configs/cluster/slurm-array.sh configs/sweep-batch.yaml
#
# Change SHARDS and --array together. To measure only the shards that failed: sbatch --array=3,7 ...
#SBATCH --job-name=bench
#SBATCH --array=1-8
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --exclusive
#SBATCH --requeue
#SBATCH --time=02:00:00
set -euo pipefail

SHARDS=8
OUT=${BENCH_OUT:-results}

# A job that SLURM has started again goes on with its own campaign.
resume=()
if [ "${SLURM_RESTART_COUNT:-0}" -gt 0 ]; then
    before=$(find "$OUT" -maxdepth 1 -name "*-campaign-*-shard-$SLURM_ARRAY_TASK_ID-$SHARDS-*" | sort | tail -n 1)
    [ -z "$before" ] || resume=(--resume "$before")
fi

# srun gives one processor unless it is told otherwise. SIGTERM reaches bench through srun, and what was measured
# is kept.
exec srun --ntasks=1 --cpus-per-task="$SLURM_CPUS_ON_NODE" \
    bench run "$@" --on here --shard "$SLURM_ARRAY_TASK_ID/$SHARDS" --out "$OUT" "${resume[@]}"
