#!/bin/bash
# A training as a job of Slurm, on one machine or several, in the project's folder; docs/clusters.md says more.
#
#   sbatch --nodes=2 --gpus-per-node=4 docs/examples/train.sh my_dataset runs/run1
#   PROCESSES=2 sbatch docs/examples/train.sh my_dataset runs/run1 --backend gloo --device cpu    # without GPUs
#
# What stands after the two folders goes to monai.bundle run; OVERLAYS="configs/network/deeplab.json ..." are appended to
# train.json. The same command goes on with a training that was ended.
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=04:00:00
#SBATCH --open-mode=append

dataset=${1:?"folder of the data set"} output=${2:?"folder of the training"}
shift 2
bundle=${BUNDLE:-bundle}
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
resume=()
compgen -G "$output/checkpoint_*.pt" > /dev/null && resume=(--resume True)
# A port for each job, as two may run on one machine.
port=$((20000 + SLURM_JOB_ID % 10000))
files=$(printf "'%s'," "$bundle/configs/train.json" $OVERLAYS "$bundle/configs/multi_gpu_train.json")
# Since version 22.05 srun does not take --cpus-per-task from the job.
exec srun --cpus-per-task="$SLURM_CPUS_PER_TASK" torchrun \
    --nnodes="$SLURM_NNODES" --nproc_per_node="${PROCESSES:-${SLURM_GPUS_ON_NODE:-1}}" \
    --rdzv_backend=c10d --rdzv_endpoint="$first:$port" --rdzv_id="$SLURM_JOB_ID" \
    -m monai.bundle run --bundle_root "$bundle" --dataset_dir "$dataset" --output_dir "$output" "${resume[@]}" \
    --config_file "[${files%,}]" "$@"
