//! Free loopback ports, below the range from which the kernel takes ports for outgoing connections. Each process takes them
//! from blocks of its own, so that tests may run side by side: a lock on a file says that a block is taken, and ends with
//! the process.

#![allow(unreachable_pub, reason = "also a module of the tests of single crates")]

use std::{
    env,
    fs::{self, File},
    net::TcpListener,
    ops::Range,
    process,
    sync::{Mutex, PoisonError},
};

const FIRST: u16 = 15_000;
const BLOCKS: u16 = 170;
const BLOCK_PORTS: u16 = 100;

struct Block {
    left: Range<u16>,
    _lock: File,
}

static TAKEN: Mutex<Vec<Block>> = Mutex::new(Vec::new());

/// A port on which nobody listens, and which no other test was given.
pub fn free() -> u16 {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some(block) = taken.last_mut() {
            let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
            if let Some(port) = block.left.find(is_free) {
                return port;
            }
        }
        taken.push(block());
    }
}

/// A block that no process has.
fn block() -> Block {
    let folder = env::temp_dir().join("watchkeep-test-ports");
    // It is there, or what follows says so.
    let _ = fs::create_dir(&folder);
    // Not where a process that has just ended began.
    let begin = process::id() % u32::from(BLOCKS);
    for at in 0..u32::from(BLOCKS) {
        let number = u16::try_from((begin + at) % u32::from(BLOCKS)).expect("a small number");
        let path = folder.join(number.to_string());
        let Ok(lock) = File::open(&path).or_else(|_| File::create(&path)) else { continue };
        if lock.try_lock().is_ok() {
            let first = FIRST + number * BLOCK_PORTS;
            return Block { left: first..first + BLOCK_PORTS, _lock: lock };
        }
    }
    panic!("all {BLOCKS} blocks of ports from {FIRST} on are taken: see {}", folder.display());
}
