#!/bin/sh
# What the build stage of an image needs of Debian: `packages.sh operator|agent|kvs-local`, as root, in the container.
# Does nothing where it is all there.
set -eu
cd "$(dirname "$0")/../.."
export DEBIAN_FRONTEND=noninteractive

group() {
    awk -v group="$1" '$1 == group { print $2 }' xtask/packages.txt
}

case "$1" in
operator | kvs-local) wanted="$(group build | grep -v gstreamer) ca-certificates" ;;
agent) wanted="$(group build) ca-certificates libvo-aacenc0" ;;
*) echo "packages.sh: expected operator, agent or kvs-local, found $1" >&2 && exit 2 ;;
esac
missing=
for package in $wanted; do
    case "$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null)" in
    installed) ;;
    *) missing="$missing $package" ;;
    esac
done

# Of the plugin packages a few files each are needed, and hardly any of the 600 MB that they depend on.
plugins="gstreamer1.0-plugins-base gstreamer1.0-plugins-bad"
# What dpkg does not know of them: rootfs.sh looks it up for the bill of materials.
unpacked=/var/lib/kvs-ingest-plugins
[ "$1" = agent ] && [ ! -d "$unpacked" ] || plugins=

[ -n "$missing$plugins" ] || exit 0
apt-get update -qq
if [ -n "$missing" ]; then
    # shellcheck disable=SC2086 # a list of words
    apt-get install --yes -qq --no-install-recommends $missing >/dev/null
fi
if [ -n "$plugins" ]; then
    folder="$(mktemp -d)"
    chmod 755 "$folder"
    # shellcheck disable=SC2086 # a list of words
    (cd "$folder" && apt-get download -qq -o APT::Sandbox::User=root $plugins)
    mkdir "$folder/unpacked"
    for package in "$folder"/*.deb; do
        dpkg-deb --extract "$package" /
        name="$(dpkg-deb --field "$package" Package)"
        dpkg-deb --field "$package" >"$folder/unpacked/$name.control"
        dpkg-deb --fsys-tarfile "$package" | tar --list | sed 's/^\.//' >"$folder/unpacked/$name.list"
    done
    mv "$folder/unpacked" "$unpacked"
    rm -rf "$folder"
fi
