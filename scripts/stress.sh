#!/bin/bash
# Runs two tests at full length that otherwise take seconds: fifty processes in one repository for
# two minutes, and a hundred `kill -9` of each of pull, create, load, rm and rmi. stress.sh
# [PROCESSES [SECONDS [KILLS]]]
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

export UDOCKER_TEST_PROCESSES=${1:-50} UDOCKER_TEST_SECONDS=${2:-120} UDOCKER_TEST_KILLS=${3:-100}
cargo test --test faults -- --nocapture concurrency:: kills::
