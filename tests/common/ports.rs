//! Free loopback ports, below the range from which the kernel takes ports for outgoing connections.

#![allow(unreachable_pub, reason = "also a module of the tests of single crates")]

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU32, Ordering},
};

const FIRST: u32 = 15_000;
const COUNT: u32 = 17_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A port on which nobody listens, and which no other test of this process was given.
pub fn free() -> u16 {
    // Test processes that run side by side begin at different places.
    let start = std::process::id().wrapping_mul(151);
    for _ in 0..COUNT {
        let at = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + at).expect("below 65536");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port from {FIRST} to {}", FIRST + COUNT);
}
