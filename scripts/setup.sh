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
GIVEN_UP=build/setup-given-up    # packages that could not be had: not asked for again on each run
APT_LOG=build/setup-apt.log      # what apt-get said
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
extra  | libxdp1                            | sharing an interface with other XDP programs (xdp-loader)
extra  | ethtool                            | `ids doctor` advises its use, for offloads
extra  | iperf3                             | throughput through the gateway, in `make bench`
extra  | nftables                           | what `make bench` compares with
extra  | xdp-tools                          | xdp-filter, the yardstick of `make bench`
extra  | bpftool linux-tools-common         | a look at programs and maps from outside
'

say() { printf 'setup: %s\n' "$*"; }
warn() { printf 'setup: WARNING: %s\n' "$*" >&2; }
die() { printf 'setup: ERROR: %s\n' "$*" >&2; exit 1; }

# can_be_root: whether as_root would work. as_root COMMAND...: run it with root's rights.
can_be_root() { [ "$(id -u)" -eq 0 ] || { command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; }; }
as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }

# missing_packages: the rows of PACKAGES of which nothing is installed, as "need|alternatives|what for" lines.
missing_packages() {
    local installed given_up need names purpose name
    installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' | awk '$1 == "installed" { printf " %s ", $2 }')
    given_up=" $([ "${FORCE:-}" = 1 ] || cat "$GIVEN_UP" 2>/dev/null || true) "
    while IFS='|' read -r need names purpose; do
        read -r need <<<"$need"
        [ -n "$need" ] || continue
        read -r names <<<"$names"
        read -r purpose <<<"$purpose"
        for name in $names; do
            case "$installed$given_up" in *" $name "*) continue 2 ;; esac
        done
        printf '%s|%s|%s\n' "$need" "$names" "$purpose"
    done <<<"$PACKAGES"
}

# apt_install NAME...: install, without starting or enabling any service that a package brings (nginx does).
apt_install() {
    local policy=/usr/sbin/policy-rc.d status=0 had_nginx=no
    command -v nginx >/dev/null && had_nginx=yes
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
        trap 'exit 130' INT TERM
    fi
    as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
        apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 "$@" \
        </dev/null >>"$APT_LOG" 2>&1 || status=$?
    [ "$status" -eq 0 ] || tail -n 5 "$APT_LOG" >&2
    if [ "$had_nginx" = no ] && command -v nginx >/dev/null && command -v systemctl >/dev/null; then
        as_root systemctl disable --quiet nginx 2>/dev/null || warn 'nginx may start at the next boot: systemctl disable nginx'
    fi
    return "$status"
}

# available NAME...: the first of these packages that the configured sources offer; nothing where none is.
available() {
    local name candidate
    for name in "$@"; do
        candidate=$(apt-cache policy "$name" 2>/dev/null | awk '$1 == "Candidate:" { print $2 }')
        case "$candidate" in '' | '(none)') ;; *) echo "$name" && return ;; esac
    done
}

# give_up NEED NAME... WHAT-FOR: say what will not work, and remember not to try on each run.
give_up() {
    local need=$1 name=$2 purpose=$3
    case "$need" in
    must) die "$name could not be installed ($purpose). See the messages above; install it by hand and run \`make setup\` again." ;;
    kernel) warn "$name could not be installed ($purpose): only \`ids replay\` will work. After mending it: make setup FORCE=1" ;;
    *) warn "$name could not be installed ($purpose): what needs it is skipped. After mending it: make setup FORCE=1" ;;
    esac
    printf '%s ' "$name" >>"$GIVEN_UP"
}

install_packages() {
    local missing need names purpose name wanted=()
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        say 'no apt-get here, so no package was installed; scripts/setup.sh lists what is used for what'
        return
    fi
    missing=$(missing_packages)
    [ -n "$missing" ] || return 0
    if ! can_be_root; then
        say "skipped, as only root may: installing $(cut -d'|' -f2 <<<"$missing" | awk '{ printf "%s%s", sep, $1; sep=", " }')"
        return
    fi
    [ "${FORCE:-}" != 1 ] || rm -f "$GIVEN_UP"
    say 'asking for the lists of packages'
    mkdir -p build
    : >"$APT_LOG"
    as_root apt-get update -qq >>"$APT_LOG" 2>&1 || warn 'apt-get update failed in part; going on with the lists that are there'
    while IFS='|' read -r need names purpose; do
        # shellcheck disable=SC2086 # the alternatives are words
        name=$(available $names)
        if [ -n "$name" ]; then wanted+=("$name"); fi
    done <<<"$missing"
    if [ "${#wanted[@]}" -gt 0 ]; then
        say "installing ${wanted[*]}"
        apt_install "${wanted[@]}" || warn 'installing all at once failed; trying one by one'
    fi
    missing=$(missing_packages)
    while IFS='|' read -r need names purpose; do
        [ -n "$need" ] || continue
        # shellcheck disable=SC2086
        name=$(available $names)
        { [ -n "$name" ] && apt_install "$name"; } || give_up "$need" "${names%% *}" "$purpose"
    done <<<"$missing"
}

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
