#!/usr/bin/env bash
# Install the programs that tests talk to or compare with. None of it is needed to run the engine; a test skips, and says so,
# where one is missing.
#
#   FORCE=1                   try again what a former run could not install
#
# Nothing is started or enabled. Of prometheus, which is a server, only promtool is taken, into build/tools.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

GIVEN_UP=build/test-given-up
APT_LOG=build/test-apt.log
APT_OPTIONS=()
AGAIN=scripts/test-setup.sh

PACKAGES='
extra  | gcc                                | the contract with the XDP program, as a compiler of C lays it out
extra  | nmap                               | scans of the lab
extra  | curl                               | HTTP/2 as a client speaks it
extra  | nghttp2-client                     | nghttp and h2load, likewise
extra  | nghttp2-server                     | nghttpd: HTTP/2 as a server speaks it
extra  | nghttp2-proxy                      | nghttpx: HTTP/2 after an upgrade
extra  | samba                              | smbd: SMB and DCE/RPC as a server speaks them
extra  | smbclient                          | smbclient and rpcclient, likewise
extra  | krb5-kdc                           | krb5kdc: Kerberos as a server speaks it
extra  | krb5-admin-server                  | kadmin.local, which gives it users
extra  | krb5-user                          | kinit: Kerberos as a client speaks it
extra  | chromium-headless-shell chromium   | the console in a real browser (160 MB to fetch where no library is there)
extra  | tshark                             | another reassembly of streams to compare with
extra  | systemd                            | systemd-analyze: what systemd says of the unit
extra  | logrotate                          | what it says of the snippet
extra  | groff-base                         | what it says of man pages
extra  | mmdebstrap                         | the clean roots of `make packages`
'

# shellcheck source=scripts/packages.sh
. scripts/packages.sh

# install_promtool: put this one program of the package prometheus into build/tools.
install_promtool() {
    local folder
    if command -v promtool >/dev/null || [ -x build/tools/promtool ] || ! command -v apt-get >/dev/null; then return; fi
    if [ "${FORCE:-}" != 1 ] && grep -qsw promtool "$GIVEN_UP"; then return; fi
    say 'fetching promtool (of the package prometheus, 19 MB)'
    mkdir -p build/tools
    folder=$(mktemp -d)
    if { fetch prometheus "$folder" || { update_lists && fetch prometheus "$folder"; }; } &&
        dpkg-deb --fsys-tarfile "$folder"/prometheus_*.deb | tar -xf - -C "$folder" ./usr/bin/promtool; then
        mv "$folder/usr/bin/promtool" build/tools/
    else
        give_up extra promtool 'what it says of the metrics and the alert rules'
    fi
    rm -rf "$folder"
}

install_packages
install_promtool
