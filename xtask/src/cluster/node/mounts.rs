//! What is mounted under a folder.

use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::output;

/// The mount points of `/proc/self/mountinfo` at or under `folder`, in the order in which they were mounted.
fn under(mountinfo: &str, folder: &Path) -> Vec<PathBuf> {
    mountinfo
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|point| PathBuf::from(std::ffi::OsString::from_vec(unescape(point))))
        .filter(|point| point.starts_with(folder))
        .collect()
}

/// Space, tab, newline and backslash are written as three octal digits.
fn unescape(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let digits = text.get(index + 1..index + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (bytes[index], digits) {
            (b'\\', Some(byte)) => {
                out.push(byte);
                index += 4;
            }
            (byte, _) => {
                out.push(byte);
                index += 1;
            }
        }
    }
    out
}

/// Unmounts all of them, the last first. An error when one stays: whoever removes the folder would remove what is in it.
pub fn clear(folder: &Path) -> Result<()> {
    let read = || fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo");
    for point in under(&read()?, folder).iter().rev() {
        // It may be gone with the one it was mounted in.
        let _ = output(Command::new("umount").arg("--lazy").arg(point));
    }
    if let Some(point) = under(&read()?, folder).first() {
        bail!("{} cannot be unmounted", point.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_those_of_the_folder_alone() {
        let text = "22 1 8:1 / / rw - ext4 /dev/a rw\n23 22 0:5 / /a/b\\040c/d rw shared:1 - tmpfs tmpfs rw\n\
                    24 22 0:6 / /a/b\\040c rw - tmpfs tmpfs rw\n25 22 0:6 / /a/b\\040cc rw - tmpfs tmpfs rw\n";
        let found = under(text, Path::new("/a/b c"));
        assert_eq!(found, [PathBuf::from("/a/b c/d"), PathBuf::from("/a/b c")]);
    }

    #[test]
    fn escapes_are_those_of_the_kernel() {
        assert_eq!(unescape("a\\134040\\011é\\"), "a\\040\té\\".as_bytes());
    }
}
