#!/usr/bin/env bash
# Train on several GPUs, or with several processes on the CPU where there is no GPU.
#
#   tools/dist_train.sh CONFIG PROCESSES [flags of tools/train.py]
#
# For several machines set NNODES, NODE_RANK and MASTER_ADDR on each of them; PORT where 29500
# is taken; PYTHON to choose the interpreter.
set -euo pipefail

if [ $# -lt 2 ]; then
    echo "usage: $0 CONFIG PROCESSES [flags of tools/train.py]" >&2
    exit 2
fi
config=$1
processes=$2
shift 2

# torchrun hands these on to the processes, which save and end. Releases that do not know the variable
# end at SIGUSR1, and the processes with them.
export PET_SIGNALS_TO_HANDLE=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1

# The machines wait for each other as long as the processes do, not 900 s, which is torchrun's default.
timeout=600
for argument in "$@"; do
    case $argument in
        env_cfg.dist_cfg.timeout=*) timeout=${argument#*=} ;;
    esac
done

# torchrun would ask for its address until then.
if [ -n "${MASTER_ADDR:-}" ] && ! "${PYTHON:-python}" -c \
    'import socket, sys; socket.getaddrinfo(sys.argv[1], None)' "$MASTER_ADDR" 2>/dev/null; then
    echo "error: MASTER_ADDR=$MASTER_ADDR: there is no such host. Name the machine of NODE_RANK=0, or its address." >&2
    exit 1
fi

exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$processes" \
    --rdzv_conf="timeout=${timeout%.*}" \
    --max_restarts="${MAX_RESTARTS:-1}" \
    "$(dirname "$0")/train.py" "$config" --resume auto --launcher pytorch "$@"
