//! The id of the container that the proxy runs in.

/// The mounts of this process. Engines mount files from the container's own folder on the host.
const MOUNTS: &str = "/proc/self/mountinfo";
/// The hostname: the start of the container's id, unless the container was given another one.
const HOSTNAME: &str = "/proc/sys/kernel/hostname";
const ID_DIGITS: usize = 64;
const SHORT_ID_DIGITS: usize = 12;

/// Returns the id of the container that the proxy runs in, or `None` outside of one.
pub fn id() -> Option<String> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let mounted = read(MOUNTS).and_then(|mounts| in_mounts(&mounts));
    mounted.or_else(|| read(HOSTNAME).map(|name| name.trim().to_owned()).filter(|name| is_short_id(name)))
}

/// Finds the id in the source of a mount such as `/var/lib/docker/containers/<id>/hostname`, or Podman's
/// `…/overlay-containers/<id>/userdata/hostname`.
fn in_mounts(mounts: &str) -> Option<String> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (source, target) = (fields.nth(3)?, fields.next()?);
        let engine_file = matches!(target, "/etc/hostname" | "/etc/hosts" | "/etc/resolv.conf");
        let (_, rest) = source.rsplit_once("containers/").filter(|_| engine_file)?;
        let id = rest.split('/').next()?;
        (id.len() == ID_DIGITS && is_hex(id)).then(|| id.to_owned())
    })
}

fn is_short_id(name: &str) -> bool {
    name.len() == SHORT_ID_DIGITS && is_hex(name)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_read_from_what_the_engine_mounts() {
        let id = "0123456789abcdef".repeat(4);
        for (line, found) in [
            (
                format!("603 592 8:1 /var/lib/docker/containers/{id}/hostname /etc/hostname rw - ext4 /dev/sda1 rw"),
                true,
            ),
            (
                format!("1 2 0:5 /containers/overlay-containers/{id}/userdata/hosts /etc/hosts rw - tmpfs tmpfs rw"),
                true,
            ),
            (format!("603 592 8:1 /var/lib/docker/containers/{id}/x.log /data/x.log rw - ext4 /dev/sda1 rw"), false),
            (
                "603 592 8:1 /var/lib/docker/containers/abc/hostname /etc/hostname rw - ext4 /dev/sda1 rw".to_owned(),
                false,
            ),
            ("22 1 8:1 / / rw - ext4 /dev/sda1 rw".to_owned(), false),
        ] {
            assert_eq!(in_mounts(&line).is_some_and(|it| it == id), found, "{line}");
        }
    }

    #[test]
    fn only_a_name_that_an_engine_gives_is_taken_for_an_id() {
        for (name, expected) in [("0123456789ab", true), ("proxy", false), ("0123456789AB", false), ("abc", false)] {
            assert_eq!(is_short_id(name), expected, "{name}");
        }
    }
}
