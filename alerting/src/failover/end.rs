//! How a failover ends: all is done, a step failed for good, or somebody wanted it to end.

use tracing::info;
use watchkeep_catalog::{Failover, FailoverState, StepState, Time};

use super::{Deposed, Interrupt, Run, judge, plan, point};
use crate::{clock, store::Extra};

impl Run<'_> {
    /// It ends here: what is done is done, and a person goes on.
    pub(super) async fn interrupted(&mut self, interrupt: Interrupt) -> Result<(), Deposed> {
        plan::skip(&self.plan, &mut self.failover.record);
        let done = self.done();
        for (at, step) in self.failover.record.steps.iter_mut().enumerate() {
            if step.state == StepState::Running {
                step.state = StepState::Failed;
                step.finished_at = Some(clock::now());
                "interrupted: it may have had its effect".clone_into(&mut step.detail);
            } else if step.state == StepState::Waiting
                || self.plan.get(at).is_some_and(|p| p.is_last)
            {
                step.state = StepState::Skipped;
            }
        }
        let (state, why, page) = match interrupt {
            Interrupt::Aborted => {
                let by = self.failover.record.aborted_by.clone().unwrap_or_default();
                (FailoverState::Aborted, format!("by {by}; {done}"), None)
            }
            Interrupt::Stopped(stop) => {
                let why = format!("failovers were stopped by {}; {done}", stop.by);
                (FailoverState::Failed, why, Some(judge::FAILED))
            }
            Interrupt::CalledOff | Interrupt::Overtaken => {
                (FailoverState::CalledOff, "its incident is resolved".to_owned(), None)
            }
        };
        let note = judge::over(self.record(), state, &why, clock::now());
        self.end(note, page).await
    }

    /// What has been done so far, in words.
    fn done(&self) -> String {
        let steps = self.failover.record.steps.iter().filter(|s| s.state == StepState::Done);
        let names: Vec<_> = steps.map(|step| step.name.as_str()).collect();
        match names.is_empty() {
            true => "nothing was done before".to_owned(),
            false => format!("done before: {}", names.join(", ")),
        }
    }

    /// Nothing is left to do: the end into the journal and the incident. A failover that failed is one more thing to page
    /// about.
    pub(super) async fn finish(&mut self) -> Result<(), Deposed> {
        point("finish");
        let now = clock::now();
        let is_shorthand = self.policy.steps.is_empty();
        let record = &mut self.failover.record;
        let attempts = record.attempts.len();
        let Some(why) = record.failure.clone() else {
            record.state = FailoverState::Delivered;
            record.finished_at = Some(now);
            record.outcome = match is_shorthand {
                true => format!("delivered at attempt {attempts}"),
                false => {
                    format!("delivered: {} steps in {}", record.steps.len(), lasted(record, now))
                }
            };
            let note = format!("failover {} {}", record.policy, record.outcome);
            return self.end(note, None).await;
        };
        let undone = record.steps.iter().filter(|step| step.undoes.is_some());
        let all_undone = undone.clone().all(|step| step.state == StepState::Done);
        let state = match undone.count() > 0 && all_undone {
            true => FailoverState::RolledBack,
            false => FailoverState::Failed,
        };
        let mut note = judge::over(record, state, &why, now);
        if state == FailoverState::RolledBack {
            note.push_str("; what was done is undone");
        }
        self.end(note, Some(judge::FAILED)).await
    }

    /// Writes the end.
    async fn end(&mut self, note: String, page: Option<&str>) -> Result<(), Deposed> {
        info!(failover = self.failover.record.id, "{note}");
        let tell = page.filter(|_| !self.failover.record.rehearsal).map(str::to_owned);
        // A person who ends it now comes too late, and that is all that can come between.
        while self.write(Extra::default(), Some((note.clone(), tell.clone()))).await?.is_some() {}
        let record = &self.failover.record;
        self.context.metrics.failover_over(record);
        if let (FailoverState::Delivered, Some(incident)) = (record.state, &self.incident)
            && let Some(finished_at) = record.finished_at
        {
            let delay = (finished_at - incident.record.started_at).as_seconds_f64();
            self.context.metrics.fault_to_callback_seconds.observe(delay.max(0.0));
        }
        point("finished");
        Ok(())
    }
}

fn lasted(record: &Failover, now: Time) -> String {
    let began = record.started_at.unwrap_or(record.decided_at);
    format!("{:.1} s", (now - began).as_seconds_f64().max(0.0))
}
