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

# What the licences of these libraries ask for.
for file in $libraries ${origins:-}; do
    real="$(readlink -f "$file")"
    package="$(dpkg-query --search "$real" "/usr${real#/usr}" "${real#/usr}" 2>/dev/null | head -n 1 | cut -d: -f1)"
    # Unpacked, not installed: dpkg does not know whose it is.
    [ -n "$package" ] || case "$real" in
        */libgstvoaacenc.so) package=gstreamer1.0-plugins-bad ;;
        */gstreamer-1.0/*) package=gstreamer1.0-plugins-base ;;
    esac
    notice="/usr/share/doc/$package/copyright"
    if [ -n "$package" ] && [ -e "$notice" ]; then
        mkdir -p "$rootfs/usr/share/doc/$package"
        cp --dereference "$notice" "$rootfs$notice"
    fi
done

cp --dereference /etc/ssl/certs/ca-certificates.crt "$rootfs/etc/ssl/certs/"
echo 'root:x:0:0:root:/:/sbin/nologin
nonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin' >"$rootfs/etc/passwd"
echo 'root:x:0:
nonroot:x:65532:' >"$rootfs/etc/group"
echo 'hosts: files dns' >"$rootfs/etc/nsswitch.conf"
du -sh "$rootfs"
