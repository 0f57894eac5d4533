//! A network of its own for each member: a namespace, a pair of virtual Ethernet devices, and a bridge on which the
//! test's clients are as well. Links are cut, made one-way and slowed here. Dropped, all of it is removed.

use std::{
    net::Ipv4Addr,
    process::Command,
    sync::atomic::{AtomicU8, Ordering},
};

/// How a slow link is slow: a delay with jitter and loss where the kernel can do that, else a narrow pipe whose
/// queue delays what it does not drop.
const NETEM: &str = "netem delay 40ms 30ms loss 5%";
const NARROW: &str = "tbf rate 1mbit burst 4kb latency 150ms";

/// How many this process has laid out: its tests run side by side.
static NETWORKS: AtomicU8 = AtomicU8::new(0);

/// Namespaces `wk<pid>x0n1`, `wk<pid>x0n2`, … on the bridge `wk<pid>x0b`; of the next network `x1`.
pub(crate) struct Network {
    name: String,
    subnet: (u8, u8),
    members: usize,
}

impl Network {
    /// Lays it out.
    ///
    /// # Errors
    /// When this is not root, `ip` is not installed, or the kernel knows no namespaces.
    pub(crate) fn create(members: usize) -> Result<Self, String> {
        let pid = std::process::id();
        let number = NETWORKS.fetch_add(1, Ordering::SeqCst);
        let [.., high, low] = pid.to_be_bytes();
        // 10.128.0.0 and up, a /24 for each network.
        let subnet = (128 | high >> 1, low.wrapping_add(number));
        let network = Self { name: format!("wk{pid}x{number}"), subnet, members };
        let bridge = format!("{}b", network.name);
        ip(&format!("link add {bridge} type bridge"))?;
        ip(&format!("addr add {}/24 dev {bridge}", network.host(1)))?;
        ip(&format!("link set {bridge} up"))?;
        for member in 0..members {
            let (space, outer) = (network.space(member), network.outer(member));
            ip(&format!("netns add {space}"))?;
            ip(&format!("link add {outer} type veth peer name eth0 netns {space}"))?;
            ip(&format!("link set {outer} master {bridge} up"))?;
            ip(&format!("-n {space} addr add {}/24 dev eth0", network.address(member)))?;
            ip(&format!("-n {space} link set lo up"))?;
            ip(&format!("-n {space} link set eth0 up"))?;
        }
        Ok(network)
    }

    fn host(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, self.subnet.0, self.subnet.1, last)
    }

    pub(crate) fn space(&self, member: usize) -> String {
        format!("{}n{}", self.name, member + 1)
    }

    fn outer(&self, member: usize) -> String {
        format!("{}v{}", self.name, member + 1)
    }

    /// Where a member is, for clients and for the others.
    pub(crate) fn address(&self, member: usize) -> Ipv4Addr {
        self.host(11 + u8::try_from(member).expect("few members"))
    }

    /// A command that runs in a member's namespace; its process id is the program's own.
    pub(crate) fn command(&self, member: usize, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.space(member), program]);
        command
    }

    /// Nothing reaches the member and nothing leaves it, clients included.
    pub(crate) fn isolate(&self, member: usize) -> Result<(), String> {
        ip(&format!("link set {} down", self.outer(member)))
    }

    /// What `from` sends to `to` is lost; the other direction is open.
    pub(crate) fn cut(&self, from: usize, to: usize) -> Result<(), String> {
        let (space, to) = (self.space(from), self.address(to));
        ip(&format!("-n {space} route replace blackhole {to}/32"))
    }

    /// It and the other members do not reach each other, while clients reach all.
    pub(crate) fn cut_off(&self, member: usize) -> Result<(), String> {
        let mut others = (0..self.members).filter(|other| *other != member);
        others.try_for_each(|other| self.cut(member, other).and_then(|()| self.cut(other, member)))
    }

    /// Both directions of the member's link become slow; says how.
    pub(crate) fn slow(&self, member: usize) -> Result<&'static str, String> {
        let used = if self.shape(member, NETEM).is_ok() { NETEM } else { NARROW };
        self.shape(member, used).map(|()| used)
    }

    fn shape(&self, member: usize, how: &str) -> Result<(), String> {
        let (space, outer) = (self.space(member), self.outer(member));
        tc(&format!("qdisc replace dev {outer} root {how}"))?;
        tc(&format!("-n {space} qdisc replace dev eth0 root {how}"))
    }

    /// Takes back everything that was done to links.
    pub(crate) fn heal(&self) {
        for member in 0..self.members {
            let (space, outer) = (self.space(member), self.outer(member));
            // What was not broken cannot be mended: those errors mean nothing.
            let _ = tc(&format!("qdisc del dev {outer} root"));
            let _ = tc(&format!("-n {space} qdisc del dev eth0 root"));
            let _ = ip(&format!("link set {outer} up"));
            for other in 0..self.members {
                let _ = ip(&format!("-n {space} route del blackhole {}/32", self.address(other)));
            }
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for member in 0..self.members {
            // With its namespace a veth goes, and with one end the other.
            let _ = ip(&format!("netns del {}", self.space(member)));
            let _ = ip(&format!("link del {}", self.outer(member)));
        }
        let _ = ip(&format!("link del {}b", self.name));
    }
}

fn ip(args: &str) -> Result<(), String> {
    run("ip", args)
}

fn tc(args: &str) -> Result<(), String> {
    run("tc", args)
}

fn run(program: &str, args: &str) -> Result<(), String> {
    let output = Command::new(program).args(args.split(' ')).output();
    let output = output.map_err(|error| format!("{program}: {error} (apt package iproute2)"))?;
    let why = String::from_utf8_lossy(&output.stderr);
    output.status.success().then_some(()).ok_or(format!("{program} {args}: {}", why.trim()))
}
