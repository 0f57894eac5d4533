//! What a probe tells while it runs: which phase it is in, facts, and values for assertions.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use serde_json::Value;
use tokio::time::Instant;

/// Most facts of one probe; further ones are dropped.
pub(crate) const FACTS_MAX: usize = 64;
/// What an HTTP probe says.
const FACTS_EXPECTED: usize = 18;

/// What a probe does, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Fetching a token; counted as processing.
    Token,
    Resolve,
    Connect,
    Tls,
    Processing,
    Transfer,
}

/// How long each phase took; zero for one that was not reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Phases {
    /// Name to addresses.
    pub(crate) resolve: Duration,
    /// TCP handshake.
    pub(crate) connect: Duration,
    /// TLS handshake.
    pub(crate) tls: Duration,
    /// From the request to the answer's head.
    pub(crate) processing: Duration,
    /// The answer's body.
    pub(crate) transfer: Duration,
}

impl Phases {
    /// Each with the name that blackbox_exporter gives it.
    pub(crate) fn named(&self) -> [(&'static str, Duration); 5] {
        [
            ("resolve", self.resolve),
            ("connect", self.connect),
            ("tls", self.tls),
            ("processing", self.processing),
            ("transfer", self.transfer),
        ]
    }
}

/// Something that was measured besides good or bad: a sample under the name and labels that
/// blackbox_exporter gives it, where it has it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fact {
    pub(crate) name: Cow<'static, str>,
    pub(crate) labels: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    pub(crate) value: f64,
}

impl Fact {
    fn is(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        let own = self.labels.iter().map(|(name, value)| (&**name, &**value));
        self.name == name && own.eq(labels.iter().copied())
    }
}

/// Measures a probe.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    pub(super) started: Instant,
    pub(super) mark: Instant,
    pub(super) phase: Phase,
    pub(super) phases: Phases,
    /// Who is waited for, when it is not the check's endpoint: address and endpoint.
    pub(super) towards: Option<(String, String)>,
    facts: Vec<Fact>,
    /// The fact that the phases become at the end.
    phases_as: Option<&'static str>,
    /// None: nobody will look at them.
    exposed: Option<BTreeMap<&'static str, Value>>,
    /// None: nobody will read them.
    notes: Option<Vec<(Duration, String)>>,
}

impl Stopwatch {
    /// `exposing`: what is exposed will be looked at.
    pub(super) fn start(exposing: bool) -> Self {
        let now = Instant::now();
        Self {
            started: now,
            mark: now,
            phase: Phase::Resolve,
            phases: Phases::default(),
            towards: None,
            facts: Vec::with_capacity(FACTS_EXPECTED),
            phases_as: None,
            exposed: exposing.then(BTreeMap::new),
            notes: None,
        }
    }

    /// Also keeps notes.
    pub(super) fn noting(mut self) -> Self {
        self.notes = Some(Vec::new());
        self
    }

    /// Ends the phase that runs and begins `next`, which may have run before.
    pub(super) fn enter(&mut self, next: Phase) {
        let now = Instant::now();
        let phase = match self.phase {
            Phase::Resolve => &mut self.phases.resolve,
            Phase::Connect => &mut self.phases.connect,
            Phase::Tls => &mut self.phases.tls,
            Phase::Token | Phase::Processing => &mut self.phases.processing,
            Phase::Transfer => &mut self.phases.transfer,
        };
        *phase += now - self.mark;
        (self.mark, self.phase) = (now, next);
    }

    /// From here on somebody else than the check's endpoint is waited for: a proxy, a place that a redirect leads to, a socket.
    pub(super) fn turn_to(&mut self, address: impl Into<String>, endpoint: impl Into<String>) {
        self.towards = Some((address.into(), endpoint.into()));
    }

    /// A fact without labels: `watch.fact("probe_http_status_code", 200.0)`.
    pub(super) fn fact(&mut self, name: impl Into<Cow<'static, str>>, value: f64) {
        self.fact_with(name, &[], value);
    }

    /// A fact with labels. Said again under the same name and labels it takes the former's place.
    pub(super) fn fact_with(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        labels: &[(&'static str, &str)],
        value: f64,
    ) {
        let name = name.into();
        match self.facts.iter().position(|fact| fact.is(&name, labels)) {
            Some(at) => self.facts[at].value = value,
            None if self.facts.len() < FACTS_MAX => {
                let labels = labels.iter().map(|(n, v)| ((*n).into(), (*v).to_owned().into()));
                self.facts.push(Fact { name, labels: labels.collect(), value });
            }
            None => {}
        }
    }

    /// The phases are to become facts with label `phase`, also when the probe does not come to an end.
    pub(super) fn tell_phases_as(&mut self, name: &'static str) {
        self.phases_as = Some(name);
    }

    /// A variable of the check's assertions. Ask [`Self::exposes`] before making a costly one.
    pub(super) fn expose(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(exposed) = &mut self.exposed {
            exposed.insert(name, value.into());
        }
    }

    /// Whether anybody will look at what is exposed.
    pub(super) fn exposes(&self) -> bool {
        self.exposed.is_some()
    }

    /// A step in words, for who runs the probe by hand. Never a secret.
    pub(super) fn note(&mut self, words: impl FnOnce() -> String) {
        if let Some(notes) = &mut self.notes {
            notes.push((self.started.elapsed(), words()));
        }
    }

    /// The facts, once the last phase has ended.
    pub(super) fn take_facts(&mut self) -> Vec<Fact> {
        if let Some(name) = self.phases_as {
            // Nobody else says them: they need not be looked for.
            let room = FACTS_MAX.saturating_sub(self.facts.len());
            let phases = self.phases.named().into_iter().take(room);
            self.facts.extend(phases.map(|(phase, duration)| Fact {
                name: name.into(),
                labels: vec![("phase".into(), phase.into())],
                value: duration.as_secs_f64(),
            }));
        }
        std::mem::take(&mut self.facts)
    }

    pub(super) fn take_exposed(&mut self) -> BTreeMap<&'static str, Value> {
        self.exposed.take().unwrap_or_default()
    }

    pub(super) fn take_notes(&mut self) -> Vec<(Duration, String)> {
        self.notes.take().unwrap_or_default()
    }
}
