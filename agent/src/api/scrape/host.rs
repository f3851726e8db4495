//! The families of the agent and its host.

use tenement_wire::InstanceName;

use super::text::{Kind, Text, escaped};
use crate::flows::metrics::Scrape;
use crate::flows::metrics::meter::bound;
use crate::flows::metrics::wakes::{OUTCOMES, TIERS};

use Kind::{Counter, Gauge, Histogram};

/// Writes them.
pub(super) fn write(text: &mut Text, scrape: &Scrape) {
    instances(text, scrape);
    deploys(text, scrape);
    wakes(text, scrape);
    traffic(text, scrape);
    host(text, scrape);
    logs_and_tokens(text, scrape);
    own(text, scrape);
}

fn instances(text: &mut Text, scrape: &Scrape) {
    text.family("tenement_build_info", Gauge, "The agent's version");
    text.gauge(&format!("version=\"{}\"", escaped(scrape.version)), 1);
    text.family("tenement_instances", Gauge, "Registered instances by what they do");
    for state in ["running", "starting", "stopping", "asleep", "failed"] {
        let count = scrape.states.get(state).copied().unwrap_or(0);
        text.gauge(&format!("state=\"{state}\""), count);
    }
    text.family("tenement_instances_by_tier", Gauge, "Registered instances by how deep they lie");
    for tier in ["running", "reclaimed", "frozen", "parked", "stopped", "dormant"] {
        let count = scrape.tiers.get(tier).copied().unwrap_or(0);
        text.gauge(&format!("tier=\"{tier}\""), count);
    }
    text.family("tenement_processes", Gauge, "Processes of the config");
    text.gauge("", scrape.processes);
    text.family(
        "tenement_instances_omitted",
        Gauge,
        "Instances without series because there are more than max_instances of [metrics]",
    );
    text.gauge("", scrape.omitted);
}

fn deploys(text: &mut Text, scrape: &Scrape) {
    text.family(
        "tenement_deploys",
        Counter,
        "Deployments by how they moved instances and how they ended",
    );
    for ((process, strategy, state), count) in &scrape.deploys {
        let labels = format!(
            "process=\"{process}\",strategy=\"{}\",outcome=\"{}\"",
            strategy.as_str(),
            state.as_str()
        );
        text.counter(&labels, count, scrape.started_ms);
    }
}

fn wakes(text: &mut Text, scrape: &Scrape) {
    text.family("tenement_wakes", Counter, "Wakes by the tier they began in and how they ended");
    for (tier, counts) in TIERS.iter().zip(&scrape.wakes) {
        for (outcome, count) in OUTCOMES.iter().zip(counts) {
            let labels = format!("tier=\"{}\",outcome=\"{}\"", tier.as_str(), outcome.as_str());
            text.counter(&labels, count, scrape.started_ms);
        }
    }
    text.family(
        "tenement_wake_duration_seconds",
        Histogram,
        "From the request that found its instance asleep to the head of its answer",
    );
    for (tier, took) in TIERS.iter().zip(&scrape.wakes_took) {
        let labels = format!("tier=\"{}\"", tier.as_str());
        text.histogram(&labels, &took.buckets, bound, took.sum_ns as f64 / 1e9, scrape.started_ms);
    }
}

fn traffic(text: &mut Text, scrape: &Scrape) {
    let traffic = &scrape.traffic;
    let counts = [
        ("tenement_proxy_connections", "Connections accepted", traffic.connections),
        (
            "tenement_proxy_connections_refused",
            "Connections turned away by a limit",
            traffic.connections_refused,
        ),
        ("tenement_proxy_requests", "Requests to any host", traffic.requests),
        (
            "tenement_proxy_requests_refused",
            "Requests refused for their framing",
            traffic.requests_refused,
        ),
        (
            "tenement_proxy_failures",
            "Requests that the proxy itself answered with a status of 500 or more",
            traffic.failures,
        ),
        ("tenement_proxy_retries", "Exchanges tried again on a fresh connection", traffic.retries),
        ("tenement_proxy_upgrades", "Connections switched to another protocol", traffic.upgrades),
        ("tenement_spans_sent", "Spans that the collector took", traffic.spans_sent),
        ("tenement_spans_dropped", "Spans that were not sent", traffic.spans_dropped),
        ("tenement_access_lines", "Lines of the access log", traffic.access_lines),
        (
            "tenement_access_lines_dropped",
            "Lines of the access log that were not written",
            traffic.access_lines_dropped,
        ),
    ];
    for (name, help, count) in counts {
        text.family(name, Counter, help);
        text.counter("", count, scrape.started_ms);
    }
}

fn host(text: &mut Text, scrape: &Scrape) {
    let host = &scrape.host;
    text.family("tenement_host_load", Gauge, "Load averages of the host");
    for (minutes, load) in ["1", "5", "15"].iter().zip(&host.load) {
        text.gauge(&format!("minutes=\"{minutes}\""), load);
    }
    text.family("tenement_host_cpus", Gauge, "Processors that the agent may use");
    text.gauge("", host.cpus);
    text.family("tenement_host_memory_bytes", Gauge, "Memory of the host");
    text.gauge("", host.memory_bytes);
    if let Some(bytes) = host.memory_available_bytes {
        text.family(
            "tenement_host_memory_available_bytes",
            Gauge,
            "Memory of the host that can be given to whoever asks",
        );
        text.gauge("", bytes);
    }
    text.family("tenement_host_swap_bytes", Gauge, "Swap of the host");
    text.gauge("", host.swap_bytes);
    text.family("tenement_host_swap_free_bytes", Gauge, "Swap of the host that is free");
    text.gauge("", host.swap_free_bytes);
    let booted_ms = now_less(scrape, host.uptime_seconds * 1000);
    text.family(
        "tenement_host_stalled_seconds",
        Counter,
        "Time in which some or all tasks of the host waited (PSI)",
    );
    for (resource, stalled) in &scrape.stalled {
        let some = format!("resource=\"{resource}\",tasks=\"some\"");
        text.counter(&some, stalled.some_us as f64 / 1e6, booted_ms);
        if let Some(full) = stalled.full_us {
            let labels = format!("resource=\"{resource}\",tasks=\"all\"");
            text.counter(&labels, full as f64 / 1e6, booted_ms);
        }
    }
}

/// A moment so long before the scrape; the boot, say.
fn now_less(scrape: &Scrape, ms: u64) -> u64 {
    scrape.now_ms.saturating_sub(ms)
}

fn logs_and_tokens(text: &mut Text, scrape: &Scrape) {
    let since = scrape.started_ms;
    if let Some((lines, behind_us)) = scrape.logs {
        text.family("tenement_log_lines", Counter, "Lines of instances that were indexed");
        text.counter("", lines, since);
        text.family("tenement_log_index_lag_seconds", Gauge, "Age of what the index reads now");
        text.gauge("", behind_us as f64 / 1e6);
    }
    if let Some(tokens) = &scrape.tokens {
        text.family("tenement_token_checks", Counter, "Tokens that were good");
        text.counter("", tokens.cached + tokens.hashed, since);
        text.family("tenement_token_failures", Counter, "Tokens that were not taken");
        let failures =
            [("wrong", tokens.refused), ("locked_out", tokens.locked), ("busy", tokens.busy)];
        for (reason, count) in failures {
            text.counter(&format!("reason=\"{reason}\""), count, since);
        }
        text.family("tenement_token_locked_addresses", Gauge, "Addresses that are locked out now");
        text.gauge("", tokens.locked_addresses);
    }
    text.family(
        "tenement_certificate_expiry_timestamp_seconds",
        Gauge,
        "When a certificate that is served ends",
    );
    for one in &scrape.certificates {
        text.gauge(&format!("name=\"{}\"", escaped(&one.name)), one.ends);
    }
    text.family(
        "tenement_certificate_not_before_timestamp_seconds",
        Gauge,
        "When a certificate that is served began",
    );
    for one in &scrape.certificates {
        text.gauge(&format!("name=\"{}\"", escaped(&one.name)), one.begins);
    }
    text.family("tenement_state_database_up", Gauge, "Whether the state database can be written");
    text.gauge("", u8::from(scrape.store_works));
    text.family("tenement_metrics_rows_dropped", Counter, "Rows of the history that were lost");
    text.counter("", scrape.rows_dropped, since);
}

/// The families of backups: of instances as well, and of those that never woke.
pub(super) fn backups(text: &mut Text, scrape: &Scrape) {
    let labels =
        |name: &InstanceName| format!("process=\"{}\",id=\"{}\"", name.process(), name.id());
    let last = || scrape.backups.iter().filter_map(|one| Some((labels(&one.name), one.last?)));
    text.family(
        "tenement_backup_last_success_timestamp_seconds",
        Gauge,
        "When the last good backup of an instance was begun",
    );
    for (labels, (at_ms, _)) in last() {
        text.gauge(&labels, at_ms / 1000);
    }
    text.family("tenement_backup_size_bytes", Gauge, "Size of the last good backup of an instance");
    for (labels, (_, bytes)) in last() {
        text.gauge(&labels, bytes);
    }
    text.family(
        "tenement_backup_due_timestamp_seconds",
        Gauge,
        "When the schedule of an instance wants the backup after its last good one",
    );
    for one in &scrape.backups {
        if let Some(due_ms) = one.due_ms {
            text.gauge(&labels(&one.name), due_ms / 1000);
        }
    }
    text.family("tenement_backup_failures", Counter, "Backups of an instance that failed");
    for one in &scrape.backups {
        text.counter(&labels(&one.name), one.failures, scrape.started_ms);
    }
}

fn own(text: &mut Text, scrape: &Scrape) {
    let (own, runtime) = (&scrape.own, &scrape.runtime);
    let since =
        now_less(scrape, (scrape.host.uptime_seconds * 1000).saturating_sub(own.started_ms));
    text.family("process_cpu_seconds", Counter, "CPU time of the agent");
    text.counter("", own.cpu_ticks as f64 / 100.0, since);
    let gauges = [
        ("process_resident_memory_bytes", "Memory of the agent", own.resident),
        ("process_virtual_memory_bytes", "Memory that the agent has mapped", own.mapped),
        ("process_threads", "Threads of the agent", own.threads),
        ("process_open_fds", "File descriptors that the agent has open", own.fds),
        ("tenement_runtime_workers", "Threads that run the agent's tasks", runtime.workers),
        ("tenement_runtime_tasks", "Tasks of the agent", runtime.tasks),
        ("tenement_runtime_queue_depth", "Tasks that wait for a thread", runtime.queued),
    ];
    for (name, help, value) in gauges {
        text.family(name, Gauge, help);
        text.gauge("", value);
    }
    if let Some(max) = own.fds_max {
        text.family("process_max_fds", Gauge, "File descriptors that the agent may have");
        text.gauge("", max);
    }
    text.family("process_start_time_seconds", Gauge, "When the agent was started");
    text.gauge("", scrape.started_ms as f64 / 1e3);
    text.family("tenement_runtime_busy_seconds", Counter, "Time that these threads were busy");
    text.counter("", runtime.busy_us as f64 / 1e6, scrape.started_ms);
}
