#!/bin/bash
# A training on two machines under Slurm, by torchrun's variables (docs/distributed.md): `sbatch deploy/torchrun-slurm.sh`
#
# One task a node starts the node's ranks. SIGTERM goes to the tasks two minutes before the time is up. The job comes back
# if the training says that it was stopped (75), and not after a mistake. DVC takes the result over at the end.
# Written after Slurm's documentation; no Slurm was at hand to run it.
#SBATCH --nodes=2 --ntasks-per-node=1 --gpus-per-node=8 --time=04:00:00 --requeue --signal=TERM@120
export PET_NNODES=$SLURM_NNODES PET_RDZV_BACKEND=static PET_MASTER_PORT=29500
PET_MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export PET_MASTER_ADDR
srun bash -c 'PET_NODE_RANK=$SLURM_NODEID exec python -m stages.train sketch'
status=$?
[ $status = 75 ] && exec scontrol requeue "$SLURM_JOB_ID"
[ $status = 0 ] && dvc commit --force train@sketch      # the outputs are there: DVC only writes down their hashes
exit $status
