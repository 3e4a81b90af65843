#!/bin/bash
# A training on a Ray cluster under Slurm (docs/cluster.md): `sbatch deploy/ray-slurm.sh`
#
# `ray symmetric-run` starts a node of the cluster in each task, runs the command on the first and then ends all of them;
# no variable names a rank. It hands no SIGTERM on: a job whose time is up has a state that is up to 30 s old in
# UNROLL_RESUME, which the next `sbatch` goes on from. For long trainings torchrun-slurm.sh suits better: it saves and
# comes back by itself. Where Ray itself cannot start, symmetric-run prints so and its status is 0 all the same.
# Written after Slurm's documentation and Ray 2.60's source; no Slurm was at hand to run it.
#SBATCH --nodes=2 --ntasks-per-node=1 --gpus-per-node=8 --time=04:00:00
export UNROLL_RAY=auto UNROLL_NODE_FOLDER=${SLURM_TMPDIR:-/tmp/unroll-$USER} UNROLL_RESUME=$HOME/unroll-resume
export RAY_USAGE_STATS_ENABLED=0
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun ray symmetric-run --address "$first:6379" --min-nodes "$SLURM_NNODES" -- dvc repro train@sketch
