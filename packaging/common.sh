# What build, check and quickstart share: where things are, and how what is missing gets installed.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

build_packages=(gcc meson ninja-build pkg-config python3 libuv1-dev libmicrohttpd-dev libcurl4-openssl-dev libssl-dev libsqlite3-dev
  libjansson-dev libsodium-dev libconfuse-dev)
run_packages=(curl ca-certificates)
test_packages=(check spin strace clang libclang-rt-14-dev python3-venv redis-server openssl iproute2 util-linux)
# For the browser that tries to get in; half a gigabyte.
long_packages=(chromium)

say() { printf '%s\n' "$*" >&2; }

# Installs those of the named Debian packages that are not there yet.
install_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  say "Installing ${missing[*]}"
  local as_root=()
  [ "$(id -u)" -eq 0 ] || as_root=(sudo)
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# configure DIR OPTION…: sets a build folder up, or brings its options up to date.
configure() {
  local dir=$1
  shift
  if [ -f "$dir/build.ninja" ]; then
    meson configure "$dir" "$@" >/dev/null
  else
    meson setup "$dir" "$top" "$@" >/dev/null
  fi
}
