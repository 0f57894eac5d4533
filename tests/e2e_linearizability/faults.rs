//! What is done to members while clients work: one fault after another, in rounds of all of them, each round in an
//! order that the seed gives; between two the members are left alone for a moment.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use tokio::time::{sleep, timeout};
use watchkeep_api::etcdserverpb::{StatusRequest, maintenance_client::MaintenanceClient};

use crate::{clients::Run, member::Member, membership, network::Network, rpc};

#[derive(Debug, Clone, Copy)]
enum Fault {
    /// SIGKILL, and started again.
    Kill,
    /// SIGKILL of two of three: no quorum for a while.
    KillMost,
    /// SIGKILL of all.
    KillAll,
    /// SIGSTOP, SIGCONT.
    Pause,
    /// Cut off from everybody, clients too.
    Isolate,
    /// Cut off from the two other members, while clients still reach it.
    CutOff,
    /// It and one other member do not reach each other, both reach the third.
    CutOne,
    /// It hears the others and they do not hear it.
    Mute,
    /// The others hear it and it does not hear them.
    Deaf,
    /// A slow link that loses packets.
    Slow,
    /// Its wall clock jumps by this many seconds.
    Clock(i64),
    /// Removed from the cluster, while its process goes on until it notices; then a new member takes its place.
    Remove,
}

/// Faults, and whether the leader is the victim or a follower.
const FAULTS: [(Fault, bool); 20] = [
    (Fault::Kill, true),
    (Fault::Kill, false),
    (Fault::KillMost, true),
    (Fault::KillAll, true),
    (Fault::Pause, true),
    (Fault::Pause, false),
    (Fault::Isolate, true),
    (Fault::Isolate, false),
    (Fault::CutOff, true),
    (Fault::CutOff, false),
    (Fault::CutOne, true),
    (Fault::Mute, true),
    (Fault::Mute, false),
    (Fault::Deaf, true),
    (Fault::Slow, true),
    (Fault::Slow, false),
    (Fault::Clock(-3_600), true),
    (Fault::Clock(86_400), true),
    (Fault::Remove, true),
    (Fault::Remove, false),
];

/// Members and their network, to be harmed.
pub(crate) struct Nemesis {
    pub(crate) network: Network,
    pub(crate) members: Vec<Member>,
    run: Run,
    random: StdRng,
    /// The place from which a member was removed.
    vacant: Option<usize>,
}

impl Nemesis {
    pub(crate) fn new(network: Network, members: Vec<Member>, run: Run, seed: u64) -> Self {
        Self { network, members, run, random: StdRng::seed_from_u64(seed), vacant: None }
    }

    /// Harms them in rounds, each of all faults, until `until` has passed; how many faults there were.
    pub(crate) async fn work(&mut self, until: Duration) -> usize {
        let mut done = 0;
        loop {
            let mut faults = FAULTS;
            faults.shuffle(&mut self.random);
            for (fault, leader) in faults {
                if self.run.now() >= until {
                    return done;
                }
                let lasts = Duration::from_millis(self.random.random_range(400..1_700));
                let victim = self.victim(leader).await;
                println!(
                    "{:>9.3?} {fault:?} of member {} for {lasts:?}",
                    self.run.now(),
                    victim + 1
                );
                self.harm(fault, victim).await;
                sleep(lasts).await;
                self.heal().await;
                sleep(Duration::from_millis(self.random.random_range(150..600))).await;
                for member in &mut self.members {
                    assert_eq!(member.ended(), None);
                }
                done += 1;
            }
        }
    }

    /// The leader, or a member that does not lead; any, when nobody says who leads.
    async fn victim(&mut self, leader: bool) -> usize {
        let leads = leader_of(&self.run).await;
        let all = 0..self.members.len();
        let mut fit: Vec<usize> =
            all.filter(|at| leads.is_none_or(|leads| (leads == *at) == leader)).collect();
        fit.shuffle(&mut self.random);
        fit[0]
    }

    async fn harm(&mut self, fault: Fault, victim: usize) {
        let count = self.members.len();
        let others: Vec<usize> = (1..count).map(|step| (victim + step) % count).collect();
        let network = &self.network;
        let members = &mut self.members;
        let done = match fault {
            Fault::Kill => {
                members[victim].kill();
                Ok(())
            }
            Fault::KillMost => {
                [victim, others[0]].into_iter().for_each(|at| members[at].kill());
                Ok(())
            }
            Fault::KillAll => {
                members.iter_mut().for_each(Member::kill);
                Ok(())
            }
            Fault::Pause => {
                members[victim].signal("-STOP");
                Ok(())
            }
            Fault::Isolate => network.isolate(victim),
            Fault::CutOff => network.cut_off(victim),
            Fault::CutOne => {
                network.cut(victim, others[0]).and_then(|()| network.cut(others[0], victim))
            }
            Fault::Mute => others.iter().try_for_each(|other| network.cut(victim, *other)),
            Fault::Deaf => others.iter().try_for_each(|other| network.cut(*other, victim)),
            Fault::Slow => network.slow(victim).map(|how| println!("          {how}")),
            Fault::Clock(seconds) => {
                if !members[victim].shift_clock(seconds) {
                    assert!(
                        std::env::var_os("CI").is_none(),
                        "no libfaketime (apt package faketime)"
                    );
                    println!("          not done: no libfaketime (apt package faketime)");
                }
                Ok(())
            }
            Fault::Remove => {
                membership::remove(&self.run, others[0], members[victim].id).await;
                self.vacant = Some(victim);
                Ok(())
            }
        };
        done.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
    }

    /// Ends every fault.
    pub(crate) async fn heal(&mut self) {
        self.network.heal();
        if let Some(place) = self.vacant.take() {
            membership::replace(&self.run, &self.network, &mut self.members, place).await;
        }
        for member in &mut self.members {
            member.signal("-CONT");
            member.shift_clock(0);
            member.start(&self.network);
        }
    }
}

/// Which member leads, by its own word.
pub(crate) async fn leader_of(run: &Run) -> Option<usize> {
    for (at, (url, _)) in run.members.iter().enumerate() {
        let mut client = MaintenanceClient::new(rpc::channel(url));
        let asked = timeout(Duration::from_millis(300), client.status(StatusRequest {})).await;
        let Ok(Ok(status)) = asked else { continue };
        let status = status.into_inner();
        if status.leader != 0 && status.header.is_some_and(|h| h.member_id == status.leader) {
            return Some(at);
        }
    }
    None
}
