#!/usr/bin/env bash
# Train on a Slurm cluster.
#
#   tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [flags of tools/train.py]
#
# GPUS in all (8), GPUS_PER_NODE (8), CPUS_PER_TASK (5) and SRUN_ARGS come from the environment.
#
# Two minutes before its time limit the run saves and ends with the exit code 75; the same command
# continues it. With BATCH=1 the job is submitted by sbatch, and goes back into the queue by itself:
# then, when it is preempted, and when its node fails. SBATCH_ARGS are further options of sbatch.
set -euo pipefail

if [ $# -lt 4 ]; then
    echo "usage: $0 PARTITION JOB_NAME CONFIG WORK_DIR [flags of tools/train.py]" >&2
    exit 2
fi
partition=$1
job_name=$2
config=$3
work_dir=$4
shift 4

gpus=${GPUS:-8}
gpus_per_node=${GPUS_PER_NODE:-8}
if [ "$gpus" -lt "$gpus_per_node" ]; then
    gpus_per_node=$gpus
fi

resources=(
    --partition="$partition"
    --job-name="$job_name"
    --gres="gpu:$gpus_per_node"
    --ntasks="$gpus"
    --ntasks-per-node="$gpus_per_node"
    --cpus-per-task="${CPUS_PER_TASK:-5}"
    # To the processes of the run, not to the shell around them.
    --signal=USR1@120
)
# SRUN_ARGS and SBATCH_ARGS hold several arguments and are split into them on purpose.
# shellcheck disable=SC2206
step=(srun "${resources[@]}" --kill-on-bad-exit=1 ${SRUN_ARGS:-})
step+=("${PYTHON:-python}" -u "$(dirname "$0")/train.py" "$config"
    --work-dir "$work_dir" --resume auto --launcher slurm "$@")

if [ "${BATCH:-0}" = 1 ]; then
    # shellcheck disable=SC2086
    exec sbatch "${resources[@]}" --requeue --open-mode=append ${SBATCH_ARGS:-} \
        --wrap="exec $(printf '%q ' "${step[@]}")"
fi
exec "${step[@]}"
