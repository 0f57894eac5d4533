//! The same second by second, two hours around the moments at which clocks change and leap days begin and end: hand-offs by cron
//! lines with seconds beside those of every so many days, and changes that begin and end at any second.

use super::*;

/// Two hours.
const AROUND: i64 = 7_200;

/// Where the clock changes, or else the midnight behind the day.
const MOMENTS: [(&str, &str); 14] = [
    ("Europe/Berlin", "2026-03-29"),
    ("Europe/Berlin", "2026-10-25"),
    ("America/New_York", "2028-11-05"),
    ("America/Havana", "2026-03-08"),
    ("America/Havana", "2026-11-01"),
    ("America/Santiago", "2026-04-05"),
    ("America/Santiago", "2026-09-06"),
    ("Australia/Lord_Howe", "2026-10-04"),
    ("Australia/Lord_Howe", "2026-04-05"),
    ("Pacific/Apia", "2011-12-30"),
    ("America/New_York", "2028-02-28"),
    ("America/New_York", "2028-02-29"),
    ("Asia/Kolkata", "2028-02-29"),
    ("Pacific/Auckland", "2028-02-29"),
];

/// Seconds, minutes and hours of the wall clock at which it hands over.
#[derive(Debug, Clone)]
struct Cron {
    seconds: Vec<u32>,
    minutes: Vec<u32>,
    hours: Vec<u32>,
}

impl Cron {
    fn line(&self) -> String {
        let list =
            |numbers: &[u32]| numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        format!("{} {} {} * * *", list(&self.seconds), list(&self.minutes), list(&self.hours))
    }

    fn matches(&self, local: NaiveDateTime) -> bool {
        self.seconds.contains(&local.second())
            && self.minutes.contains(&local.minute())
            && self.hours.contains(&local.hour())
    }
}

/// A layer, by a cron line or by its `every`.
type FineLayer = (ModelLayer, Option<Cron>);

fn fine_layers() -> impl Strategy<Value = Vec<FineLayer>> {
    let some = |from: Vec<u32>, most: usize| prop::sample::subsequence(from, 1..=most);
    let cron = (
        some(vec![0, 1, 17, 30, 59], 2),
        some(vec![0, 1, 29, 30, 59], 3),
        some(vec![0, 1, 2, 3, 4, 22, 23], 5),
    );
    let cron = cron.prop_map(|(seconds, minutes, hours)| Cron { seconds, minutes, hours });
    (layers(), prop::collection::vec(prop::option::weighted(0.7, cron), 4)).prop_map(
        |(layers, crons)| {
            let near = |mut layer: ModelLayer| {
                layer.start_day %= 2;
                layer.end_day = layer.end_day.map(|day| (day - 4).max(layer.start_day + 1));
                layer
            };
            layers.into_iter().map(near).zip(crons).collect()
        },
    )
}

fn fine_config(zone: &str, first: NaiveDate, layers: &[FineLayer]) -> Schedule {
    let layer = |(layer, cron): &FineLayer| {
        let mut config = layer_config(first, layer);
        if let (Some(cron), Some(fields)) = (cron, config.as_object_mut()) {
            fields.remove("every");
            fields.remove("time");
            fields.insert("handoff".to_owned(), cron.line().into());
        }
        config
    };
    config(zone, layers.iter().map(layer).collect())
}

/// A turn by a cron line: what the clock has shown, and how often it has handed over.
struct CronTurn {
    shown: Option<NaiveDateTime>,
    number: usize,
}

impl CronTurn {
    /// A second counts when the clock shows, or has just jumped over, one that matches and that it has not shown before.
    fn step(&mut self, cron: &Cron, begin: NaiveDateTime, local: NaiveDateTime) {
        let Some(shown) = &mut self.shown else {
            self.shown = (local >= begin).then_some(local);
            return;
        };
        let mut due = false;
        while *shown < local {
            *shown += TimeDelta::seconds(1);
            due |= cron.matches(*shown);
        }
        self.number += usize::from(due);
    }
}

/// Who it is by the layers at each second from `window` on, two times two hours; the steps begin at `from`.
fn fine_model(
    zone: Tz,
    first: NaiveDate,
    layers: &[FineLayer],
    from: Time,
    window: Time,
) -> Vec<Option<usize>> {
    let midnight = |day: u64| (first + chrono::Days::new(day)).and_time(NaiveTime::MIN);
    let mut turns: Vec<(Turn<'_>, CronTurn)> = layers
        .iter()
        .map(|(layer, _)| {
            let next_local = midnight(layer.start_day) + TimeDelta::minutes(i64::from(layer.time));
            (
                Turn { layer, start: None, next_local, number: 0 },
                CronTurn { shown: None, number: 0 },
            )
        })
        .collect();
    let mut ended = vec![false; layers.len()];
    let mut people = Vec::new();
    let mut now = from;
    while now < window + TimeDelta::seconds(2 * AROUND) {
        let local = now.with_timezone(&zone).naive_local();
        let mut person = None;
        for (at, ((turn, by_cron), (layer, cron))) in turns.iter_mut().zip(layers).enumerate() {
            let (begun, number) = match cron {
                Some(cron) => {
                    by_cron.step(cron, midnight(layer.start_day), local);
                    (by_cron.shown.is_some(), by_cron.number)
                }
                None => {
                    turn.step(now, local);
                    (turn.start.is_some(), turn.number)
                }
            };
            ended[at] |= layer.end_day.is_some_and(|day| local >= midnight(day));
            if begun && !ended[at] && counts(layer, local) {
                person = Some(layer.people[number % layer.people.len()]);
            }
        }
        if now >= window {
            people.push(person);
        }
        now += TimeDelta::seconds(1);
    }
    people
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_second_has_the_person_that_the_rules_say(
        (zone, day) in prop::sample::select(MOMENTS.to_vec()),
        layers in fine_layers(),
        changes in changes(),
        instants in prop::collection::vec(0..2 * AROUND, 20),
    ) {
        // A layer of nothing but the day that Apia left out is refused.
        let nothing = |layer: &ModelLayer| layer.start_day == 1 && layer.end_day == Some(2);
        prop_assume!(zone != "Pacific/Apia" || !layers.iter().any(|(layer, _)| nothing(layer)));
        let day = day.parse::<NaiveDate>().unwrap();
        let first = day - chrono::Days::new(1);
        let schedule = fine_config(zone, first, &layers);
        let zone: Tz = zone.parse().unwrap();
        let midnight = |day: NaiveDate| wall::first(zone, day.and_time(NaiveTime::MIN));
        let (from, end) = (midnight(first), midnight(day + chrono::Days::new(1)));
        let moment = wall::changes(zone, from, end).first().copied().unwrap_or(end);
        let (window, to) = (moment - TimeDelta::seconds(AROUND), moment + TimeDelta::seconds(AROUND));
        let records = records(window, TimeDelta::seconds(1), &changes);
        let by_layers = fine_model(zone, first, &layers, from, window);
        let model: Vec<_> = (0..).zip(by_layers).map(|(at, person)| changed(person, &changes, at)).collect();
        let name = |person: &Option<usize>| person.map(|p| PEOPLE[p]);
        let duties = schedule.duties(window, to, &records);
        prop_assert_eq!(duties.first().map(|d| d.from), Some(window));
        prop_assert_eq!(duties.last().map(|d| d.to), Some(to));
        let mut seconds = 0;
        for duty in &duties {
            prop_assert_eq!(duty.from, window + TimeDelta::seconds(seconds));
            let until = (duty.to - window).num_seconds();
            for at in seconds..until {
                let now = window + TimeDelta::seconds(at);
                let expected = name(&model[usize::try_from(at).unwrap()]);
                prop_assert_eq!(duty.person.as_deref(), expected, "at {} ({})", now, now.with_timezone(&zone));
            }
            seconds = until;
        }
        prop_assert_eq!(usize::try_from(seconds).unwrap(), model.len());
        // Of any instant, between seconds too, the same is answered, and for no longer than it holds.
        for at in instants {
            let index = usize::try_from(at).unwrap();
            let now = window + TimeDelta::seconds(at) + TimeDelta::milliseconds(999);
            let shift = schedule.who(now, &records);
            prop_assert_eq!(shift.person.as_deref(), name(&model[index]), "at {}", now);
            // A hand-off to the same person may come before.
            let holds = model[index..].iter().take_while(|person| **person == model[index]).count();
            if index + holds < model.len() {
                let change = window + TimeDelta::seconds(at + i64::try_from(holds).unwrap());
                let until = shift.until;
                prop_assert!(until.is_some_and(|until| now < until && until <= change), "at {}: {:?}", now, until);
            }
        }
    }
}
