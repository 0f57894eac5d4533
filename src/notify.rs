//! Tells the service manager how far the process is, as systemd's `Type=notify` wants to hear it. Where nobody listens
//! ($NOTIFY_SOCKET is not set) nothing happens.

use std::{ffi::OsStr, io, os::unix::net::UnixDatagram};

use tracing::warn;

/// Where the service manager listens.
const SOCKET: &str = "NOTIFY_SOCKET";

/// Listeners are bound, and whoever calls is served.
pub(crate) fn ready() {
    tell("READY=1");
}

/// It is going to end in order.
pub(crate) fn stopping() {
    tell("STOPPING=1");
}

fn tell(state: &str) {
    let Some(socket) = std::env::var_os(SOCKET) else { return };
    if let Err(error) = send(&socket, state) {
        warn!(%error, socket = %socket.display(), state, "the service manager is not told");
    }
}

fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    let sender = UnixDatagram::unbound()?;
    match abstract_name(socket) {
        #[cfg(target_os = "linux")]
        Some(name) => {
            use std::os::{linux::net::SocketAddrExt, unix::net::SocketAddr};
            sender.send_to_addr(state.as_bytes(), &SocketAddr::from_abstract_name(name)?)?;
        }
        _ => {
            sender.send_to(state.as_bytes(), socket)?;
        }
    }
    Ok(())
}

/// Of a socket that is in no folder: its name behind the `@`.
fn abstract_name(socket: &OsStr) -> Option<&[u8]> {
    socket.as_encoded_bytes().strip_prefix(b"@")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_by_its_path_or_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), "READY=1").unwrap();
        let mut told = [0; 32];
        let length = manager.recv(&mut told).unwrap();
        assert_eq!(&told[..length], b"READY=1");
        assert_eq!(abstract_name(OsStr::new("@/org/x")), Some(&b"/org/x"[..]));
        assert_eq!(abstract_name(path.as_os_str()), None);
        assert!(send(dir.path().join("absent").as_os_str(), "READY=1").is_err());
    }
}
