#!/usr/bin/env bash
# Build a Debian package of the engine with all Python packages that it needs, pinned, in a virtual environment of its own.
#
#   DEB_PYTHON=3.11      Python of the distribution that it is for: 3.11 is Debian 12's, 3.13 is Debian 13's
#                        (default: that of this host)
#   DEB_VERSION=...      version of the package (default: that of the project)
#   DEB_OUT=build/deb    where it goes
#
# Wheels are taken for that Python, whatever runs here: a package for Debian 13 can be built on Debian 12.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

BIN=.venv/bin
PYTHON=${DEB_PYTHON:-$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')}
VERSION=${DEB_VERSION:-$("$BIN/python" -c 'import ids; print(ids.__version__)')}
OUT=${DEB_OUT:-build/deb}
ARCH=$(dpkg --print-architecture)
case "$ARCH" in
amd64) MACHINE=x86_64 ;;
arm64) MACHINE=aarch64 ;;
*) echo "deb: there are no wheels of hyperscan for $ARCH" >&2 && exit 1 ;;
esac
FULL="$VERSION+py${PYTHON/./}"
NAME="ids_${FULL}_$ARCH"
STAGE=$(mktemp -d)
trap 'rm -rf "$STAGE"' EXIT
ROOT=$STAGE/root
HOME_DIR=$ROOT/usr/lib/ids
SITE=$HOME_DIR/lib/python$PYTHON/site-packages

say() { printf 'deb: %s\n' "$*"; }

# The distribution's interpreter would write bytecode of its own version; postinst makes it on the host instead.
say "collecting wheels for Python $PYTHON"
rm -rf build/lib build/bdist.* # setuptools would pack modules that are no more
"$BIN/pip" wheel -q --no-deps --no-build-isolation -w "$STAGE/dist" .
"$BIN/pip" install -q --no-compile --target "$SITE" -c constraints.txt --only-binary=:all: \
    --python-version "$PYTHON" --implementation cp --abi "cp${PYTHON/./}" --abi abi3 --abi none \
    --platform "manylinux_2_34_$MACHINE" --platform "manylinux_2_28_$MACHINE" --platform "manylinux_2_27_$MACHINE" \
    --platform "manylinux_2_17_$MACHINE" --platform "manylinux2014_$MACHINE" --platform any \
    "$STAGE"/dist/ids-*.whl
install -d "$HOME_DIR/bin" "$HOME_DIR/share"
mv "$SITE/share/ids" "$HOME_DIR/share/"
rm -rf "$SITE/bin" "$SITE/share"
find "$HOME_DIR" -type d \( -name tests -o -name __pycache__ \) -prune -exec rm -rf {} +
# A virtual environment is this file and a link: nothing in it knows where it was made.
printf 'home = /usr/bin\ninclude-system-site-packages = false\nversion = %s\n' "$PYTHON" >"$HOME_DIR/pyvenv.cfg"
ln -s "/usr/bin/python$PYTHON" "$HOME_DIR/bin/python3"
# BCC belongs to the distribution's libbcc; nothing else of the distribution is seen.
ln -s /usr/lib/python3/dist-packages/bcc "$SITE/bcc"

say 'man pages, completion, unit'
install -d "$ROOT/usr/bin" "$ROOT/usr/share/man/man1" "$ROOT/usr/share/doc/ids" "$ROOT/usr/lib/systemd/system" \
    "$ROOT/etc/logrotate.d" "$ROOT/usr/share/bash-completion/completions" "$ROOT/usr/share/zsh/vendor-completions" \
    "$ROOT/usr/share/fish/vendor_completions.d" "$ROOT/DEBIAN"
install -m 755 packaging/debian/ids "$ROOT/usr/bin/ids"
"$BIN/python" scripts/man.py "$ROOT/usr/share/man/man1"
gzip -9n "$ROOT"/usr/share/man/man1/*.1
"$BIN/ids" completion bash >"$ROOT/usr/share/bash-completion/completions/ids"
"$BIN/ids" completion zsh >"$ROOT/usr/share/zsh/vendor-completions/_ids"
"$BIN/ids" completion fish >"$ROOT/usr/share/fish/vendor_completions.d/ids.fish"
"$BIN/python" - "$ROOT" <<'PY'
import sys
from pathlib import Path

from ids.service.unit import packaged

for path, text in packaged(Path(sys.argv[1])).items():
    path.write_text(text)
PY
cp -r docs README.md CHANGELOG.md "$ROOT/usr/share/doc/ids/"
{ printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nCopyright: the authors of ids\nLicense: GPL-2\n On Debian systems the text is in /usr/share/common-licenses/GPL-2.\n Python packages in /usr/lib/ids keep their own licenses, each in its .dist-info folder.\n'; } \
    >"$ROOT/usr/share/doc/ids/copyright"

next=${PYTHON%.*}.$((${PYTHON#*.} + 1))
cat >"$ROOT/DEBIAN/control" <<CONTROL
Package: ids
Version: $FULL
Architecture: $ARCH
Maintainer: the authors of ids <ids@localhost>
Section: net
Priority: optional
Installed-Size: $(du -sk "$ROOT" | cut -f1)
Depends: python3 (>= $PYTHON~), python3 (<< $next~), python$PYTHON, python3-bpfcc, linux-libc-dev, iproute2, libmagic1 | libmagic1t64
Recommends: logrotate, ethtool
Suggests: libxdp1, bpftool, nginx-light, hping3
Description: intrusion detection and prevention: XDP in front, Python behind
 An XDP program drops what is known to be bad and shows the rest to an engine
 that inspects protocols and streams by rules (YAML, YARA and Suricata's), and
 blocks sources in the kernel.
CONTROL
printf '/etc/logrotate.d/ids\n' >"$ROOT/DEBIAN/conffiles"
for script in postinst prerm postrm; do
    install -m 755 "packaging/debian/$script" "$ROOT/DEBIAN/$script"
done
find "$ROOT" -path "$ROOT/DEBIAN" -prune -o -type f ! -path "$ROOT/usr/bin/*" -exec chmod 644 {} +
find "$ROOT" -type d -exec chmod 755 {} +
(cd "$ROOT" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0 md5sum) >"$ROOT/DEBIAN/md5sums"

mkdir -p "$OUT"
dpkg-deb --root-owner-group -Zzstd -z10 --build "$ROOT" "$OUT/$NAME.deb" >/dev/null
say "$OUT/$NAME.deb, $(du -h "$OUT/$NAME.deb" | cut -f1)"
