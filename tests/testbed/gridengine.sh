#!/usr/bin/env bash
# A real Grid Engine on the hosts of hosts.sh: sge_qmaster on login, one sge_execd on every node. Needs gridengine-master,
# gridengine-exec and gridengine-client (Debian packages); what they keep in /var is this testbed's own, by bind mounts.
usage() { cat <<'USAGE'
usage: gridengine.sh up N         hosts.sh up N, then Grid Engine on them
       gridengine.sh down         stop Grid Engine, then hosts.sh down
       gridengine.sh status       qhost and qstat
       gridengine.sh exec CMD..   run CMD on the login host (qsub, qstat, python, ...)
environment: TESTBED_CPUS (4: slots of each node), and those of hosts.sh
There are a queue, all.q, and a parallel environment, onepernode: one slot a node, ranks started by qrsh -inherit.
USAGE
exit "${1:-2}"; }
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
S=${TESTBED_STATE:-/run/hpc-testbed} D=${TESTBED_STATE:-/run/hpc-testbed}/gridengine
ROOT=/var/lib/gridengine SPOOL=/var/spool/gridengine
hosts() { "$here/hosts.sh" "$@"; }
die() { echo "gridengine.sh: $*" >&2; exit 1; }
ge() { hosts exec login env SGE_ROOT="$ROOT" SGE_CELL=default "$@"; }
mount_own() {                   # this testbed's cell and spool, in the host's own view of the files
  hosts exec "$1" sh -c "grep -q ' $SPOOL ' /proc/mounts ||
    { mount --bind '$D/cell' '$ROOT/default' && mount --bind '$D/spool' '$SPOOL'; }"
}
qconf_with() {                  # qconf_with OPTION NAME SED-SCRIPT: what qconf opens an editor for
  printf '#!/bin/sh\nsed -i "%s" "$1"\n' "$3" >"$D/editor"
  chmod +x "$D/editor"
  ge env EDITOR="$D/editor" qconf "$1" ${2:+"$2"} >/dev/null
}
configure() {                   # configure NODE...
  local h
  ge qconf -as login >/dev/null
  for h in "$@"; do
    ge qconf -ah "$h" >/dev/null
    printf '%s\n' "hostname $h" 'load_scaling NONE' 'complex_values NONE' 'user_lists NONE' 'xuser_lists NONE' \
      'projects NONE' 'xprojects NONE' 'usage_scaling NONE' 'report_variables NONE' >"$D/host"
    ge qconf -Ae "$D/host" >/dev/null
  done
  printf '%s\n' 'group_name @allhosts' "hostlist $*" >"$D/group"
  ge qconf -Ahgrp "$D/group" >/dev/null
  printf '%s\n' 'pe_name onepernode' 'slots 999' 'user_lists NONE' 'xuser_lists NONE' 'start_proc_args NONE' \
    'stop_proc_args NONE' 'allocation_rule 1' 'control_slaves TRUE' 'job_is_first_task FALSE' 'urgency_slots min' \
    'accounting_summary FALSE' 'qsort_args NONE' >"$D/pe"
  ge qconf -Ap "$D/pe" >/dev/null
  # The nodes share the machine's load, and a queue of a loaded node takes no jobs.
  qconf_with -aq all.q "s/^hostlist .*/hostlist @allhosts/; s/^load_thresholds .*/load_thresholds NONE/; \
s/^slots .*/slots ${TESTBED_CPUS:-4}/; s/^pe_list .*/pe_list onepernode/; s|^shell .*|shell /bin/bash|; \
s/^shell_start_mode .*/shell_start_mode unix_behavior/"
  qconf_with -msconf "" 's/^schedule_interval .*/schedule_interval 0:0:2/; s/^flush_submit_sec .*/flush_submit_sec 1/; \
s/^flush_finish_sec .*/flush_finish_sec 1/'
  qconf_with -mconf "" 's/^min_uid .*/min_uid 0/; s/^min_gid .*/min_gid 0/'
}
up() {
  local h nodes n=$1
  hosts up "$n"
  mapfile -t nodes < <(seq -f node%02.0f 1 "$n")
  if [ ! -d "$D" ]; then
    mkdir -p "$D"
    cp -a "$ROOT/default" "$D/cell"
    cp -a "$SPOOL" "$D/spool"
    mkdir -p "$D/spool/execd"
    chmod 777 "$D/spool/execd"
    echo login >"$D/cell/common/act_qmaster"
  fi
  mount_own login
  if ! ge qconf -sh >/dev/null 2>&1; then
    ge sge_qmaster
    for _ in $(seq 100); do ge qconf -sh >/dev/null 2>&1 && break; sleep 0.2; done
    [ -e "$D/configured" ] || configure "${nodes[@]}"
    touch "$D/configured"
  fi
  for h in "${nodes[@]}"; do
    mount_own "$h"
    hosts exec "$h" sh -c 'pidof sge_execd >/dev/null' || hosts exec "$h" env SGE_ROOT="$ROOT" SGE_CELL=default sge_execd
  done
  for _ in $(seq 100); do
    [ "$(ge qhost | grep -c '^node.* [0-9.]*[MG] ' || true)" -ge "$n" ] && return
    sleep 0.5
  done
  die "not every node came up; see $D/spool/*/messages"
}
down() { hosts down; rm -rf -- "${D:?}"; rmdir "$S" 2>/dev/null || true; }

cmd=${1:-}; shift || true
case $cmd in
  up) [ $# = 1 ] || usage; up "$1" ;;
  down) down ;;
  status) ge qhost; ge qstat -f ;;
  exec) [ $# -ge 1 ] || usage; ge "$@" ;;
  -h | --help | help) usage 0 ;;
  *) usage ;;
esac
