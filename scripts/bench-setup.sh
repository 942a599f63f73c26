#!/usr/bin/env bash
# Install what `make bench` measures beside this engine, and what it measures with. None of it is needed to run the engine.
#
#   FORCE=1                   try again what a former run could not install
#
# Suricata is taken from the backports suite of the mirror that this machine uses already. The machine's own sources and
# lists stay as they are: apt gets a list of sources of its own below build/. Nothing is started or enabled.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

GIVEN_UP=build/bench-given-up
APT_LOG=build/bench-apt.log
AGAIN=scripts/bench-setup.sh
SOURCES=$PWD/build/apt
APT_OPTIONS=(
    -o "Dir::Etc::SourceList=$SOURCES/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::Etc::Preferences=$SOURCES/preferences" -o Dir::Etc::PreferencesParts=/dev/null
    -o "Dir::State::Lists=$SOURCES/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=
)
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

PACKAGES='
extra  | suricata                           | the peer: replay, and inline on a gateway
extra  | iptables                           | hands the packets of the gateway to Suricata
extra  | apache2-utils                      | ab, whose connections are recorded and replayed
extra  | tcpdump                            | records them
extra  | iperf3                             | throughput through the gateway
extra  | nftables                           | what blocklists are compared with
extra  | ipset                              | likewise
extra  | xdp-tools                          | xdp-filter, the yardstick of the XDP program
'

# shellcheck source=scripts/packages.sh
. scripts/packages.sh

# write_sources: the suites that this machine uses, and the backports of the release that it runs.
write_sources() {
    local signed='' release uri suite component codename
    [ ! -e "$KEYRING" ] || signed="[signed-by=$KEYRING] "
    # shellcheck disable=SC1091
    release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    mkdir -p "$SOURCES/lists/partial"
    # shellcheck disable=SC2016 # the names are for apt-get to fill in
    apt-get indextargets --format '$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(CODENAME)' 'Created-By: Packages' |
        while IFS='|' read -r uri suite component codename; do
            printf 'deb %s%s %s %s\n' "$signed" "$uri" "$suite" "$component"
            if [ "$codename" = "$release" ] && [ "$component" = main ]; then
                printf 'deb %s%s %s-backports %s\n' "$signed" "$uri" "$release" "$component"
            fi
        done >"$SOURCES/sources.list"
    # Only these of the backports, although apt prefers what the release itself has; Suricata needs its own libhtp.
    printf 'Package: suricata libhtp2\nPin: release n=%s-backports\nPin-Priority: 900\n' "$release" >"$SOURCES/preferences"
}

if command -v apt-get >/dev/null && [ -n "$(missing_packages)" ]; then write_sources; fi
install_packages
