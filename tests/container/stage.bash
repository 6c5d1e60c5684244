# What the scene says and checks with. Sourced.
problems=0

# milliseconds since boot
now() { awk '{ printf "%d", $1 * 1000 }' /proc/uptime; }

say() { printf '%6.1f s  %s\n' "$(awk '{ print $1 }' /proc/uptime)" "$*"; }

wrong() {
  say "WRONG: $*"
  problems=$((problems + 1))
}

# check WHAT COMMAND...: the command must succeed.
check() {
  local what=$1 output
  shift
  if output=$("$@" 2>&1); then
    say "$what"
  else
    wrong "$what: $* ended with $?: $output"
  fi
}

# refused WHAT COMMAND...: the command must fail.
refused() {
  local what=$1 output
  shift
  if output=$("$@" 2>&1); then
    wrong "$what: $* succeeded: $output"
  else
    say "$what: ${output//$'\n'/; }"
  fi
}

# within SECONDS WHAT COMMAND...: the command succeeds soon.
within() {
  local deadline=$(($(now) + $1 * 1000)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    if (($(now) > deadline)); then
      wrong "$what: not in time: $*"
      return 1
    fi
    sleep 0.1
  done
  say "$what"
}

property() { systemctl show --property="$2" --value "$1"; }

# logged UNIT PATTERN: the unit's journal has such a line.
logged() { journalctl --unit="$1" --grep="$2" --quiet >/dev/null; }

# figure LOAD KEY: of what a load has last written.
figure() { sed -n "s/.*\\b$2=\\([0-9]*\\).*/\\1/p" "/run/load-$1/figures"; }

# The gets of all loads together.
gets() {
  local sum=0 load
  for load in "${loads[@]}"; do sum=$((sum + $(figure "$load" gets))); done
  echo "$sum"
}

# goes_on: each load gets buffers after this moment.
goes_on() {
  local load before
  for load in "${loads[@]}"; do
    before=$(figure "$load" gets)
    within 60 "  $load goes on" more_than "$load" "$before" >/dev/null || wrong "$load stands still at $before gets"
  done
}
more_than() { (($(figure "$1" gets) > $2 + 1000)); }
