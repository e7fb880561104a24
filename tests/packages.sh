# Sourced by the scripts: what they need from Debian, and how it gets there.
# install_packages does nothing, and needs no network, when everything is there.

# shellcheck shell=bash disable=SC2034
packages_build=(g++ cmake ninja-build pkg-config
  liburing-dev libc-ares-dev libssl-dev libexpected-dev libcli11-dev zlib1g-dev libbrotli-dev
  nlohmann-json3-dev libedit-dev)
packages_test=(libgtest-dev libgmock-dev libhttp-parser-dev python3 openssl doxygen)
packages_clang=(clang-19 libclang-rt-19-dev)
# For tests/examples (http_peers.py, mail.py, websocket_peers.py, nats.sh), tests/originals and
# tests/nats, which skip what is missing.
packages_peers=(curl wrk nghttp2-client nginx-light nodejs chromium-headless-shell
  python3-requests python3-aiosmtpd postfix sasl2-bin libsasl2-modules swaks
  libmime-tools-perl libnet-ssleay-perl node-ws python3-websockets nats-server)

install_packages() {
  local package missing=() as_root=()
  if ! command -v dpkg-query >/dev/null; then
    echo "rill: not a Debian system, so its packages are taken to be there: $*" >&2
    return 0
  fi
  for package in "$@"; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
      missing+=("$package")
  done
  ((${#missing[@]})) || return 0

  if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
      echo "rill: neither root nor sudo here. As root, run: apt-get install ${missing[*]}" >&2
      return 1
    fi
    as_root=(sudo)
  fi
  echo "rill: installing ${missing[*]}"
  "${as_root[@]}" apt-get update -qq </dev/null || echo "rill: apt-get update failed; going on" >&2
  (
    # nginx and postfix come with services that would start, unless this says no (invoke-rc.d(8)).
    policy=/usr/sbin/policy-rc.d
    if [[ ! -e $policy ]]; then
      trap '"${as_root[@]}" rm -f "$policy"' EXIT
      printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" install -m 755 /dev/stdin "$policy"
    fi
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
      --no-install-recommends -o DPkg::Lock::Timeout=120 "${missing[@]}" </dev/null
  )
}
