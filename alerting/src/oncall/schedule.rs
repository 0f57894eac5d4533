//! A schedule ready for questions: its layers, and the final schedule of any span. Pure.

use std::{collections::BTreeSet, str::FromStr};

use chrono::{Datelike, NaiveDate, TimeDelta};
use chrono_tz::Tz;
use serde::Serialize;
use watchkeep_catalog::{ScheduleChange, Time};

use super::{Restrictions, Rotation, YEAR_MAX, YEAR_MIN, changes, wall};
use crate::config::{Invalid, Schedule as Config};

/// Layers of one schedule.
const LAYERS_MAX: usize = 50;
/// How far around an instant it is looked for where a shift begins and ends.
const LOOK: [TimeDelta; 3] = [TimeDelta::days(9), TimeDelta::days(40), TimeDelta::days(370)];

#[derive(Debug, Clone)]
pub(super) struct Layer {
    name: String,
    rotation: Rotation,
    restrictions: Restrictions,
    end: Option<Time>,
    /// The first in the rotation is on call before its start, too.
    ever: bool,
}

/// A schedule.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    pub(crate) name: String,
    pub(super) zone: Tz,
    pub(super) layers: Vec<Layer>,
}

/// From `from` to `to` one person, or nobody, is on call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Duty {
    pub(crate) person: Option<String>,
    /// First instant.
    pub(crate) from: Time,
    /// First instant behind it.
    pub(crate) to: Time,
    /// Why: a layer's name, or a change's id.
    pub(crate) by: String,
    /// Which shift of the layer it is.
    #[serde(skip)]
    number: u64,
}

/// Who is on call at an instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Shift {
    /// Who; none: nobody.
    pub(crate) person: Option<String>,
    /// Since when; none: for more than a year, or since ever.
    pub(crate) since: Option<Time>,
    /// Until when; none: for more than a year.
    pub(crate) until: Option<Time>,
    /// Who comes next.
    pub(crate) next_person: Option<String>,
}

impl Schedule {
    /// The IANA name of its time zone.
    pub(crate) fn time_zone(&self) -> &'static str {
        self.zone.name()
    }

    /// Reads time zone, layers, cron lines, restrictions.
    ///
    /// # Errors
    /// What is wrong, each with the schedule's field.
    pub(crate) fn new(config: &Config) -> Result<Self, Vec<Invalid>> {
        let mut found = Vec::new();
        let zone = Tz::from_str(&config.time_zone);
        if zone.is_err() {
            let zone = &config.time_zone;
            let message =
                format!("{zone:?} is not a time zone: give an IANA name such as Europe/Berlin");
            found.push(Invalid { path: "time_zone".to_owned(), message });
        }
        let zone = zone.unwrap_or(Tz::UTC);
        let mut layers = Vec::new();
        let (short, configs) = config.layers().unwrap_or_else(|wrong| {
            found.extend(wrong);
            (false, Vec::new())
        });
        if configs.len() > LAYERS_MAX {
            let message = format!("it has {} layers: at most {LAYERS_MAX}", configs.len());
            found.push(Invalid { path: "layers".to_owned(), message });
        }
        for (at, layer) in configs.iter().enumerate() {
            let path = |field: String| if short { field } else { format!("layers[{at}].{field}") };
            let rotation = Rotation::new(zone, layer);
            let restrictions = Restrictions::new(&layer.restrictions);
            let in_range = |day: &NaiveDate| (YEAR_MIN..=YEAR_MAX).contains(&day.year());
            if let Some(end) = layer.end.filter(|end| !in_range(end)) {
                let message =
                    format!("{end} is out of range: give {YEAR_MIN}-01-01 to {YEAR_MAX}-12-31");
                found.push(Invalid { path: path("end".to_owned()), message });
            }
            let end = layer.end.filter(in_range);
            let end = end.map(|day| wall::first(zone, day.and_time(chrono::NaiveTime::MIN)));
            let name = match layer.name.as_str() {
                "" => format!("layer {}", at + 1),
                name => name.to_owned(),
            };
            match (rotation, restrictions) {
                (Ok(rotation), Ok(restrictions)) => {
                    if end.is_some_and(|end| end <= rotation.start) {
                        let message = "the layer ends before it begins".to_owned();
                        found.push(Invalid { path: path("end".to_owned()), message });
                    }
                    layers.push(Layer { name, rotation, restrictions, end, ever: short });
                }
                (rotation, restrictions) => {
                    for Invalid { path: field, message } in rotation.err().into_iter().flatten() {
                        found.push(Invalid { path: path(field), message });
                    }
                    if restrictions.is_err() {
                        for (number, one) in layer.restrictions.iter().enumerate() {
                            if let Err((_, message)) = Restrictions::new(std::slice::from_ref(one))
                            {
                                let path = path(format!("restrictions[{number}]"));
                                found.push(Invalid { path, message });
                            }
                        }
                    }
                }
            }
        }
        if found.is_empty() {
            Ok(Self { name: config.name.clone(), zone, layers })
        } else {
            Err(found)
        }
    }

    /// The final schedule from `from` to `to`, without a hole: where nobody is on call, it says so. `changes` in the order
    /// in which they take effect.
    pub(crate) fn duties(&self, from: Time, to: Time, changes: &[ScheduleChange]) -> Vec<Duty> {
        let mut edges = BTreeSet::from([from, to]);
        for layer in &self.layers {
            layer.edges(self.zone, from, to, &mut edges);
        }
        for change in changes {
            changes::edges(change, &mut edges);
        }
        let edges: Vec<Time> = edges.range(from..=to).copied().collect();
        let mut cursors: Vec<Cursor<'_>> =
            self.layers.iter().map(|layer| Cursor::new(layer, from)).collect();
        let mut duties: Vec<Duty> = Vec::new();
        for pair in edges.windows(2) {
            let duty = self.duty(pair[0], pair[1], changes, &mut cursors);
            match duties.last_mut() {
                Some(last)
                    if (&last.person, &last.by, last.number)
                        == (&duty.person, &duty.by, duty.number) =>
                {
                    last.to = duty.to;
                }
                _ => duties.push(duty),
            }
        }
        duties
    }

    /// What holds from one edge to the next.
    fn duty(
        &self,
        from: Time,
        to: Time,
        changes: &[ScheduleChange],
        cursors: &mut [Cursor<'_>],
    ) -> Duty {
        for cursor in cursors.iter_mut() {
            cursor.advance(from);
        }
        let mut found =
            cursors.iter().rev().find(|cursor| cursor.layer.holds(self.zone, from)).map(|cursor| {
                let rotation = &cursor.layer.rotation;
                (rotation.person(cursor.number), cursor.layer.name.as_str(), cursor.number)
            });
        for change in changes {
            let before = found.map(|(person, _, _)| person);
            match changes::apply(change, from, before) {
                Some(Some(person)) => found = Some((person, change.id.as_str(), 0)),
                Some(None) => found = None,
                None => {}
            }
        }
        let (person, by, number) = found.map_or((None, "", 0), |(p, by, n)| (Some(p), by, n));
        Duty { person: person.map(str::to_owned), from, to, by: by.to_owned(), number }
    }

    /// Who is on call at `at`.
    pub(crate) fn who(&self, at: Time, changes: &[ScheduleChange]) -> Shift {
        if let ([layer], []) = (&self.layers[..], changes)
            && layer.restrictions.is_empty()
            && layer.end.is_none()
            && (layer.ever || at >= layer.rotation.start)
        {
            return layer.rotation.who(at);
        }
        let mut shift = Shift { person: None, since: None, until: None, next_person: None };
        for look in LOOK {
            let duties = self.duties(at - look, at + look, changes);
            let Some(here) = duties.iter().position(|duty| at < duty.to) else { continue };
            let next = duties[here + 1..].iter().find(|duty| duty.person.is_some());
            shift = Shift {
                person: duties[here].person.clone(),
                since: (here > 0).then_some(duties[here].from),
                until: (here + 1 < duties.len()).then_some(duties[here].to),
                next_person: next.and_then(|duty| duty.person.clone()),
            };
            let known = shift.since.is_some() && shift.until.is_some();
            if known && (shift.next_person.is_some() || look > LOOK[0]) {
                break;
            }
        }
        shift
    }

    /// The first time within a year at which nobody is on call, as the configuration stands: looked for from the latest
    /// start of a layer, or the latest end of one, since before that it is history or said on purpose.
    pub(crate) fn gap(&self) -> Option<Duty> {
        if self.layers.iter().any(|layer| layer.ever) {
            return None;
        }
        let starts = self.layers.iter().map(|layer| layer.rotation.start);
        let ends = self.layers.iter().filter_map(|layer| layer.end);
        let (from, last) = (starts.clone().max()?, starts.chain(ends).max()?);
        let mut at = from;
        let until = last + TimeDelta::days(366);
        // In pieces, so that what is found early is found soon.
        while at < until {
            let to = (at + TimeDelta::days(32)).min(until);
            let found = self.duties(at, to, &[]).into_iter().find(|duty| duty.person.is_none());
            if found.is_some() {
                return found;
            }
            at = to;
        }
        None
    }
}

impl Layer {
    fn holds(&self, zone: Tz, at: Time) -> bool {
        (self.ever || at >= self.rotation.start)
            && self.end.is_none_or(|end| at < end)
            && self.restrictions.hold(zone, at)
    }

    fn edges(&self, zone: Tz, from: Time, to: Time, edges: &mut BTreeSet<Time>) {
        edges.insert(self.rotation.start);
        edges.extend(self.end);
        let mut at = from;
        while let Some(next) = self.rotation.next(at).filter(|next| *next < to) {
            edges.insert(next);
            at = next;
        }
        self.restrictions.edges(zone, from, to, edges);
    }
}

/// Whose turn it is in a layer, as time goes on.
struct Cursor<'a> {
    layer: &'a Layer,
    number: u64,
    next: Option<Time>,
}

impl<'a> Cursor<'a> {
    fn new(layer: &'a Layer, at: Time) -> Self {
        let rotation = &layer.rotation;
        Self { layer, number: rotation.number(at), next: rotation.next(at) }
    }

    fn advance(&mut self, at: Time) {
        while let Some(next) = self.next.filter(|next| *next <= at) {
            self.number += 1;
            self.next = self.layer.rotation.next(next);
        }
    }
}
