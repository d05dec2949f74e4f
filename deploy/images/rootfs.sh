#!/bin/sh
# Puts a program and everything that it loads into /rootfs: `rootfs.sh PROGRAM [PLUGIN…]`, where a PLUGIN is the name of
# a GStreamer plugin. The final stage of an image is that folder and nothing else.
set -eu
program="$1"
shift
rootfs=/rootfs
mkdir -p "$rootfs/usr/local/bin" "$rootfs/etc/ssl/certs" "$rootfs/tmp"
chmod 1777 "$rootfs/tmp"
# Without symbols, which are a quarter of it. A panic still says file and line.
install -m 755 --strip "$program" "$rootfs/usr/local/bin/"
files="$rootfs/usr/local/bin/$(basename "$program")"

if [ $# -gt 0 ]; then
    from="$(pkg-config --variable=pluginsdir gstreamer-1.0)"
    # One path on every architecture.
    plugins="$rootfs/usr/lib/gstreamer-1.0"
    mkdir -p "$plugins"
    for plugin in "$@"; do
        install -m 644 "$from/libgst$plugin.so" "$plugins/"
        files="$files $plugins/libgst$plugin.so"
        origins="${origins:-} $from/libgst$plugin.so"
    done
fi

# shellcheck disable=SC2086 # a list of files without spaces
needed="$(ldd $files)"
if echo "$needed" | grep 'not found' >&2; then
    echo "rootfs.sh: a library is missing" >&2
    exit 1
fi
libraries="$(echo "$needed" | grep -o '/[^ ]*' | grep -v ":$" | grep -v "^$rootfs" | sort -u)"
for library in $libraries; do
    # Programs and libraries are found under /lib and /usr/lib alike; the loader only where it says it is.
    case "$library" in
    */ld-linux* | */ld64*) place="$library" ;;
    *) place="/usr${library#/usr}" ;;
    esac
    mkdir -p "$rootfs$(dirname "$place")"
    cp --dereference "$library" "$rootfs$place"
done
# /lib is /usr/lib, as in Debian, unless the loader needs a folder of its own.
for folder in lib lib64; do
    if [ -d "$rootfs/$folder" ]; then
        mkdir -p "$rootfs/usr/$folder"
        cp -a "$rootfs/$folder/." "$rootfs/usr/$folder/"
        rm -r "${rootfs:?}/$folder"
    fi
    if [ -d "$rootfs/usr/$folder" ]; then
        ln -s "usr/$folder" "$rootfs/$folder"
    fi
done

# The package of a file: dpkg's, or one that packages.sh unpacked without it.
unpacked=/var/lib/kvs-ingest-plugins
package_of() {
    dpkg-query --search "$1" "/usr${1#/usr}" "${1#/usr}" 2>/dev/null | head -n 1 | cut -d: -f1 | grep . && return
    list="$(grep --files-with-matches --line-regexp --fixed-strings "$1" "$unpacked"/*.list | head -n 1)"
    basename "$list" .list
}

# Which packages these are, as scanners and bills of materials find them in images without dpkg, and their licences, which
# ask for it.
mkdir -p "$rootfs/var/lib/dpkg/status.d"
certificates=/etc/ssl/certs/ca-certificates.crt
for file in $libraries ${origins:-} /usr/sbin/update-ca-certificates; do
    package="$(package_of "$(readlink -f "$file")")"
    if [ -z "$package" ]; then
        echo "rootfs.sh: $file belongs to no package: nobody would see its security updates" >&2
        exit 1
    fi
    if [ -e "$unpacked/$package.control" ]; then
        cat "$unpacked/$package.control"
    else
        dpkg-query --status "$package"
    fi >"$rootfs/var/lib/dpkg/status.d/$package"
    notice="/usr/share/doc/$package/copyright"
    if [ -e "$notice" ]; then
        mkdir -p "$rootfs/usr/share/doc/$package"
        cp --dereference "$notice" "$rootfs$notice"
    fi
done
# Whose packages they are: without it a scanner does not know which advisories count.
cp --dereference /etc/os-release "$rootfs/etc/os-release"

cp --dereference "$certificates" "$rootfs/etc/ssl/certs/"
echo 'root:x:0:0:root:/:/sbin/nologin
nonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin' >"$rootfs/etc/passwd"
echo 'root:x:0:
nonroot:x:65532:' >"$rootfs/etc/group"
echo 'hosts: files dns' >"$rootfs/etc/nsswitch.conf"
du -sh "$rootfs"
