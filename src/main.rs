//! `watchkeep`: parses the command line, runs the command, reports its error. Everything else is below.

use std::{process::ExitCode, time::Duration};

use clap::Parser;

mod advice;
mod cli;
mod compose;
mod config;
mod dashboards;
mod demo;
mod dns;
mod http;
mod metrics;
mod native;
mod notify;
mod out;
mod own_runtime;
mod querier;
mod rules;
mod sample_json;
mod self_watch;
mod series_source;
mod telemetry;
mod web;
mod welcome;

/// A put makes and drops some fifty small buffers, often on different threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long work that is under way may keep the process when it ends.
const END_MAX: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let command = cli::Cli::parse();
    // Fails only when a provider is installed already: then there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let done = runtime.block_on(command.run());
    // What runs ends before the last word is said, and a task's own last words do not follow it. Work that does not end by
    // itself (a blocked name lookup) must not keep the process.
    runtime.shutdown_timeout(END_MAX);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        // Many errors say their cause themselves.
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    let asks = |e: &(dyn std::error::Error + 'static)| {
        e.is::<watchkeep_catalog::ClientError>()
            || e.is::<watchkeep_catalog::migrate::MigrateError>()
    };
    if let Some(remedy) =
        error.chain().find(|e| asks(*e)).and_then(|_| advice::on(&text, advice::Whom::Caller))
    {
        text = format!("{text}; {remedy}");
    }
    eprintln!("{text}");
    ExitCode::FAILURE
}
