#!/bin/sh
# Installs the Debian packages of a list, by default apt-packages.txt beside this script, and starts none
# of their daemons. Run it as root or as somebody who may sudo. Run it again at any time: with
# everything installed it changes nothing and does not touch the network.
set -eu

list=${1:-$(dirname "$0")/apt-packages.txt}
policy=/usr/sbin/policy-rc.d
root=

fail() {
	echo "install-packages: $*" >&2
	exit 1
}

# missing prints the packages of the list that are not installed, one a line.
missing() {
	sed -e 's/#.*//' "$list" | while read -r package; do
		[ -n "$package" ] || continue
		state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) || state=
		[ "$state" = installed ] || echo "$package"
	done
}

# keep_daemons_stopped makes invoke-rc.d refuse every start until this script ends. A policy that is
# already there stays as it is: it is the administrator's.
keep_daemons_stopped() {
	if [ -e "$policy" ] || [ -L "$policy" ]; then
		return
	fi
	trap '$root rm -f "$policy"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	printf '#!/bin/sh\nexit 101\n' | $root tee "$policy" >/dev/null
	$root chmod 755 "$policy"
}

apt() {
	$root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 "$@" </dev/null
}

[ -r "$list" ] || fail "cannot read $list"
command -v dpkg-query >/dev/null && command -v apt-get >/dev/null || fail "this is not Debian: install what $list names by the means of your system"
packages=$(missing)
if [ -z "$packages" ]; then
	echo "install-packages: everything in $list is installed"
	exit 0
fi
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || fail "not root and no sudo; missing:" $packages
	root=sudo
fi

echo "install-packages: installing" $packages
keep_daemons_stopped
apt update || fail "apt-get update failed: are the network and /etc/apt/sources.list in order?"
# $packages is a list of words on purpose.
apt install --yes --no-install-recommends $packages || fail "apt-get could not install them all (see above); missing:" $(missing)
[ -z "$(missing)" ] || fail "still missing after the install:" $(missing)
echo "install-packages: done; the daemons are installed, not started"
