# Installing packages of the distribution: sourced by setup.sh, test-setup.sh and bench-setup.sh, which set
#
#   PACKAGES      a table: need | packages, any one of which will do | what for
#   GIVEN_UP      file of packages that could not be installed: not asked for again on each run, unless FORCE=1
#   APT_LOG       file of what apt-get said
#   APT_OPTIONS   an array of further options of apt-get and apt-cache
#   AGAIN         the command that tries again what could not be installed
# shellcheck shell=bash

# Services that these packages bring: what is new of them is disabled, what was there before is left as it is.
SERVICES=(nginx suricata nghttpx smbd nmbd samba-ad-dc krb5-kdc krb5-admin-server)

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

# apt_install NAME...: install, without starting or enabling any service that a package brings.
apt_install() {
    local policy=/usr/sbin/policy-rc.d status=0 service fresh=()
    for service in "${SERVICES[@]}"; do
        [ -e "/lib/systemd/system/$service.service" ] || fresh+=("$service")
    done
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
        trap 'exit 130' INT TERM
    fi
    as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
        apt-get "${APT_OPTIONS[@]}" install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 "$@" \
        </dev/null >>"$APT_LOG" 2>&1 || status=$?
    [ "$status" -eq 0 ] || tail -n 5 "$APT_LOG" >&2
    for service in "${fresh[@]}"; do
        if [ -e "/lib/systemd/system/$service.service" ] && command -v systemctl >/dev/null; then
            as_root systemctl disable --quiet "$service" 2>/dev/null ||
                warn "$service may start at the next boot: systemctl disable $service"
        fi
    done
    return "$status"
}

# update_lists: ask for the lists of packages.
update_lists() {
    mkdir -p build
    : >"$APT_LOG"
    can_be_root && as_root apt-get "${APT_OPTIONS[@]}" update -qq >>"$APT_LOG" 2>&1
}

# fetch NAME FOLDER: put a package into a folder, uninstalled.
fetch() {
    mkdir -p build
    (cd "$2" && apt-get "${APT_OPTIONS[@]}" -o APT::Sandbox::User=root download -qq "$1") </dev/null >>"$APT_LOG" 2>&1
}

# available NAME...: the first of these packages that the configured sources offer; nothing where none is.
available() {
    local name candidate
    for name in "$@"; do
        candidate=$(apt-cache "${APT_OPTIONS[@]}" policy "$name" 2>/dev/null | awk '$1 == "Candidate:" { print $2 }')
        case "$candidate" in '' | '(none)') ;; *) echo "$name" && return ;; esac
    done
}

# give_up NEED NAME... WHAT-FOR: say what will not work, and remember not to try on each run.
give_up() {
    local need=$1 name=$2 purpose=$3
    case "$need" in
    must) die "$name could not be installed ($purpose). See the messages above; install it by hand and run \`$AGAIN\` again." ;;
    kernel) warn "$name could not be installed ($purpose): only \`ids replay\` will work. After mending it: $AGAIN FORCE=1" ;;
    *) warn "$name could not be installed ($purpose): what needs it is skipped. After mending it: $AGAIN FORCE=1" ;;
    esac
    printf '%s ' "$name" >>"$GIVEN_UP"
}

install_packages() {
    local missing need names purpose name wanted=()
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        say 'no apt-get here, so no package was installed; scripts/ lists what is used for what'
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
    update_lists || warn 'apt-get update failed in part; going on with the lists that are there'
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
