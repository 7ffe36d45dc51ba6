#!/bin/bash
# An archive shared out as an array of Slurm, and a job after it that does what is left; docs/clusters.md says more.
#
#   job=$(sbatch --parsable --array=1-100 shares.sh archive masks)
#   sbatch --dependency="afterany:$job" shares.sh archive masks
#
# What stands after the two folders goes to c2f segment, what stands before the script to Slurm: on nodes with GPUs
# sbatch --gpus=1 ... A share alone is started again by --export=ALL,SHARES=100 --array=7.
#SBATCH --cpus-per-task=4
#SBATCH --time=02:00:00
#SBATCH --open-mode=append

archive=${1:?"folder of images"} masks=${2:?"folder of masks"}
shift 2
share=()
if [[ -n $SLURM_ARRAY_TASK_ID ]]; then
    share=(--shard "$SLURM_ARRAY_TASK_ID/${SHARES:-$SLURM_ARRAY_TASK_COUNT}")
fi
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$SLURM_CPUS_PER_TASK}
exec c2f segment "$archive" "$masks" --quiet "${share[@]}" "$@"
