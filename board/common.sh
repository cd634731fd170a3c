# shellcheck shell=bash
# What the scripts of this repository share: messages, packages, the Swift toolchain, the Python
# environment of the tests. Sourced by board/build, board/demo, Tests/run and Tests/bench.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*" >&2; }
die() {
  say "error: $*"
  exit 1
}

# Runs a command as root: directly, or through sudo.
as_root() {
  if [[ $(id -u) -eq 0 ]]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "this needs root: run it as root, install sudo, or do by hand: $*"
  fi
}

# Does the command given, up to three times: package mirrors and networks have bad moments.
retry() {
  local attempt
  for attempt in 1 2 3; do
    "$@" && return 0
    say "attempt $attempt failed: $*"
    sleep $((attempt * 3))
  done
  return 1
}

package_installed() {
  [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# Installs those of the packages that are missing; touches nothing when none is.
install_packages() {
  local missing=() package
  for package in "$@"; do
    package_installed "$package" || missing+=("$package")
  done
  [[ ${#missing[@]} -eq 0 ]] && return 0
  command -v apt-get >/dev/null ||
    die "no apt-get here; install the equivalents of: ${missing[*]}"
  say "installing: ${missing[*]}"
  local options=(-y -o Acquire::Retries=3 -o DPkg::Lock::Timeout=600)
  retry as_root apt-get "${options[@]}" update >&2 || die "apt-get update failed"
  retry as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get "${options[@]}" install --no-install-recommends "${missing[@]}" >&2 ||
    die "could not install: ${missing[*]}"
}

# Installs servers that only the tests start: without this Debian starts each as a service, on the
# ports that something else may have. A policy that is there already is left as it is.
install_without_services() {
  local policy=/usr/sbin/policy-rc.d status=0 package wanted=0
  for package in "$@"; do package_installed "$package" || wanted=1; done
  [[ $wanted -eq 1 ]] || return 0
  if [[ -e $policy ]]; then
    install_packages "$@"
    return
  fi
  as_root install -m 755 /dev/stdin "$policy" <<<$'#!/bin/sh\nexit 101'
  (install_packages "$@") || status=$?
  as_root rm -f "$policy"
  [[ $status -eq 0 ]] || exit "$status"
}

# Finds the Swift toolchain; sudo often resets PATH, so the usual places are looked at too.
require_swift() {
  local home candidate
  if ! command -v swift >/dev/null; then
    home=$(getent passwd "${SUDO_USER:-$(id -un)}" | cut -d: -f6)
    for candidate in "$home"/.local/share/swiftly/bin "$home"/.swiftly/bin /opt/swift*/usr/bin \
      /usr/local/swift*/usr/bin /usr/share/swift*/usr/bin /usr/libexec/swift*/bin; do
      [[ -x $candidate/swift ]] && PATH=$candidate:$PATH && break
    done
  fi
  command -v swift >/dev/null ||
    die "no Swift toolchain in PATH: install Swift 6.3 or later (https://www.swift.org/install)"
}

# What every build for the host needs.
install_build_packages() {
  install_packages libssl-dev libmosquitto-dev pkg-config binutils
}

# The Python environment of the tests and the demo: .venv, made once for a requirements file.
ensure_venv() {
  local requirements=$ROOT/Tests/requirements.txt venv=$ROOT/.venv
  if [[ -x $venv/bin/python ]] && cmp -s "$requirements" "$venv/requirements.txt"; then
    return 0
  fi
  if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
    install_packages python3 python3-venv
  fi
  install_packages ca-certificates
  say "making the Python environment in .venv"
  # Debian's Python when it is there: another python3 first in PATH may lack ensurepip.
  python3 -m venv --clear "$venv" >&2 || die "could not make a virtual environment in $venv"
  retry "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements" >&2 ||
    die "could not install Tests/requirements.txt"
  cp "$requirements" "$venv/requirements.txt"
}
