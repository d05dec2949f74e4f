//! [`memory`]: how much memory this process has, wherever it runs.

use std::{fs, path::Path};

/// Bytes: the smallest limit of the control groups that this process is in (of a container its own), or what the machine has
/// if that is less. `None`: neither can be read.
pub(super) fn memory() -> Option<u64> {
    under(Path::new("/"))
}

/// Looked at anew each time: a container's limit may be changed while it runs.
fn under(root: &Path) -> Option<u64> {
    let read = |path: String| fs::read_to_string(root.join(path)).ok();
    let machine = read("proc/meminfo".to_owned()).and_then(|text| {
        let kib = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        kib.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
    });
    let groups = read("proc/self/cgroup".to_owned()).unwrap_or_default();
    let limits = groups.lines().filter_map(|line| {
        // ID:CONTROLLERS:PATH; version 2 has no controllers
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let (mount, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            some if some.split(',').any(|controller| controller == "memory") => {
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        // the limit of a group holds for those within it; the path may be of the host, whose groups a container does not see
        let above = Path::new(path).ancestors().filter_map(|group| {
            let group = group.strip_prefix("/").unwrap_or(group).to_str()?;
            read(format!("{mount}/{group}/{file}"))?.trim().parse::<u64>().ok()
        });
        above.min()
    });
    limits.chain(machine).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        under(root.path())
    }

    #[test]
    fn the_smallest_limit_counts() {
        let total = ("proc/meminfo", "MemTotal:        4096 kB\nMemFree:  1 kB\n");
        assert_eq!(machine(&[]), None);
        assert_eq!(machine(&[total]), Some(4 << 20));
        // a container with version 2: its own group is the root of what it sees
        let own = ("proc/self/cgroup", "0::/\n");
        assert_eq!(machine(&[total, own, ("sys/fs/cgroup/memory.max", "1048576\n")]), Some(1 << 20));
        assert_eq!(machine(&[total, own, ("sys/fs/cgroup/memory.max", "max\n")]), Some(4 << 20));
        // a service of systemd, whose slice has the limit
        let service = ("proc/self/cgroup", "0::/system.slice/kvs.service\n");
        let slice = ("sys/fs/cgroup/system.slice/memory.max", "2097152\n");
        let unit = ("sys/fs/cgroup/system.slice/kvs.service/memory.max", "max\n");
        assert_eq!(machine(&[total, service, slice, unit]), Some(2 << 20));
        // version 1, in a container that sees none of the groups of the path
        let first = ("proc/self/cgroup", "9:cpu,cpuacct:/x\n8:memory:/docker/abc\n");
        let limit = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "3145728\n");
        assert_eq!(machine(&[total, first, limit]), Some(3 << 20));
        let none = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(machine(&[total, first, none]), Some(4 << 20));
    }
}
