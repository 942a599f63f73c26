#!/usr/bin/env bash
# Install the programs that tests talk to or compare with. None of it is needed to run the engine; a test skips, and says so,
# where one is missing.
#
#   FORCE=1                   try again what a former run could not install
#
# Nothing is started or enabled. Two tests want what is too large to be installed for them: a browser (chromium, 290 MB) and
# promtool (prometheus, 96 MB).
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
extra  | tshark                             | another reassembly of streams to compare with
extra  | systemd                            | systemd-analyze: what systemd says of the unit
extra  | logrotate                          | what it says of the snippet
extra  | groff-base                         | what it says of man pages
extra  | mmdebstrap                         | the clean roots of `make packages`
'

# shellcheck source=scripts/packages.sh
. scripts/packages.sh

install_packages
