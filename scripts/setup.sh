#!/usr/bin/env bash
# Bring a machine from nothing to a working `.venv/bin/ids`: distribution packages, virtual environment, bpffs.
#
#   PYTHON=/path/to/python3   interpreter of the virtual environment (default: /usr/bin/python3, which bcc belongs to)
#   FORCE=1                   try again what a former run could not install
#
# Run it as often as you like: what is there is left alone, and where nothing is missing it needs no network.
# Without root (or a usable sudo) it says what it skipped and goes on; exit 1 means that the engine cannot run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

VENV=.venv
STAMP=$VENV/.setup               # checksum of all that the installed environment depends on
GIVEN_UP=build/setup-given-up    # packages that could not be installed: not asked for again on each run
APT_LOG=build/setup-apt.log      # what apt-get said
APT_OPTIONS=()
AGAIN='make setup'
BPFFS=/sys/fs/bpf

# need | packages, any one of which will do | what for
#   must: no engine without it. kernel: no fast path without it; replay works. lab: `ids lab` has a lesser
#   substitute. extra: comparisons and debugging.
PACKAGES='
must   | python3                            | the interpreter
must   | python3-venv                       | the virtual environment
kernel | python3-bpfcc                      | BCC, which compiles and loads the XDP program
kernel | linux-libc-dev                     | the UAPI headers that the XDP program is compiled against
kernel | iproute2                           | ip: interfaces and network namespaces
lab    | nginx-light nginx-core nginx       | the web server that the lab protects
lab    | hping3                             | the SYN flood of the lab
extra  | libmagic1                          | what files are by their content (`file.magic`, `filemagic`)
extra  | libxdp1                            | sharing an interface with other XDP programs (xdp-loader)
extra  | ethtool                            | `ids doctor` advises its use, for offloads
extra  | iperf3                             | throughput through the gateway, in `make bench`
extra  | nftables                           | what `make bench` compares with
extra  | xdp-tools                          | xdp-filter, the yardstick of `make bench`
extra  | bpftool linux-tools-common         | a look at programs and maps from outside
'

# shellcheck source=scripts/packages.sh
. scripts/packages.sh

mount_bpffs() {
    [ -d "$BPFFS" ] || return 0
    [ "$(stat -f -c %T "$BPFFS")" = bpf_fs ] && return
    if ! can_be_root; then
        say "skipped, as only root may: mounting bpffs on $BPFFS"
    elif as_root mount -t bpf bpffs "$BPFFS" 2>/dev/null; then
        say "mounted bpffs on $BPFFS (a boot with systemd does so by itself)"
    else
        warn "bpffs could not be mounted on $BPFFS (a container without CAP_SYS_ADMIN?): only \`ids replay\` will work"
    fi
}

# pick_python: the interpreter for the virtual environment.
pick_python() {
    local python=${PYTHON:-/usr/bin/python3}
    [ -x "$python" ] || python=$(command -v "$python" || command -v python3 || true)
    [ -n "$python" ] || die 'no python3 found. Install Python 3.10-3.13, or name one: make setup PYTHON=/path/to/python3'
    "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2])' ||
        die "$python is $("$python" -V 2>&1), and 3.10 or newer is needed. Name another: make setup PYTHON=/path/to/python3"
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        die "$python cannot make virtual environments. Install python3-venv, or name another: make setup PYTHON=..."
    echo "$python"
}

# fingerprint PYTHON: changes whenever the virtual environment must be brought up to date.
fingerprint() { { cat pyproject.toml constraints.txt scripts/setup.sh; pwd; "$1" -V; } | sha256sum; }

make_venv() {
    local python=$1 now
    now=$(fingerprint "$python")
    if [ -x "$VENV/bin/ids" ] && [ "$(cat "$STAMP" 2>/dev/null)" = "$now" ] && "$VENV/bin/python" -c ''; then return; fi
    say "installing the pinned Python packages into $VENV ($("$python" -V))"
    "$python" -m venv --clear "$VENV"
    # setuptools comes from the same pins, so that building this package asks for nothing else.
    "$VENV/bin/pip" install -q --disable-pip-version-check -c constraints.txt setuptools &&
        "$VENV/bin/pip" install -q --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[dev]' ||
        die 'pip failed; see above. It needs a package index: behind a proxy or mirror set PIP_INDEX_URL or HTTPS_PROXY.'
    printf '%s\n' "$now" >"$STAMP"
}

# link_bcc: let the environment see the distribution's bcc, and nothing else of the distribution. The module is pure
# Python over libbcc.so, so it serves any interpreter. PyPI's project of that name is something else.
link_bcc() {
    local theirs site
    site=$(echo "$VENV"/lib/python3*/site-packages)
    if [ -e "$site/bcc" ] && [ ! -L "$site/bcc" ]; then
        warn "$site/bcc is PyPI's unrelated project; removing it"
        "$VENV/bin/pip" uninstall -q -y bcc
    fi
    theirs=/usr/lib/python3/dist-packages/bcc
    if [ -d "$theirs" ]; then
        ln -sfn "$theirs" "$site/bcc"
    else
        say "no $theirs: only \`ids replay\` will work (install python3-bpfcc, then \`make setup\` again)"
    fi
}

install_packages
mount_bpffs
python=$(pick_python)
make_venv "$python"
link_bcc
