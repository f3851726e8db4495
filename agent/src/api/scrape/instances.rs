//! The families of instances.

use std::collections::BTreeMap;

use super::text::{Kind, Text};
use crate::flows::metrics::meter::{CLIENT_GONE, bound, class};
use crate::flows::metrics::{InstanceScrape, Scrape};

/// One family: its name, what it is, its help, and its sample of one instance.
type Family = (&'static str, Kind, &'static str, fn(&mut Text, &InstanceScrape, &str));

/// Instances that systemd has no unit of have none of the later ones.
const FAMILIES: [Family; 22] = [
    (
        "tenement_instance_up",
        Kind::Gauge,
        "Whether the instance runs: 0 is asleep, starting, stopping or failed",
        |t, i, l| t.gauge(l, u8::from(i.up)),
    ),
    (
        "tenement_instance_failed",
        Kind::Gauge,
        "Whether its last start failed, or it has failed for good",
        |t, i, l| t.gauge(l, u8::from(i.failed)),
    ),
    (
        "tenement_instance_release_info",
        Kind::Gauge,
        "The release that its next start is from: always 1",
        |t, i, l| {
            if let Some(release) = &i.release {
                // Nothing in the name of a release has to be escaped.
                t.gauge(&format!("{l},release=\"{release}\""), 1)
            }
        },
    ),
    (
        "tenement_instance_requests_in_flight",
        Kind::Gauge,
        "Requests and streams open now",
        |t, i, l| t.gauge(l, i.in_flight),
    ),
    ("tenement_instance_received_bytes", Kind::Counter, "Bytes of requests' bodies", |t, i, l| {
        t.counter(l, i.reading.received, i.since_ms)
    }),
    ("tenement_instance_sent_bytes", Kind::Counter, "Bytes of answers' bodies", |t, i, l| {
        t.counter(l, i.reading.sent, i.since_ms)
    }),
    ("tenement_instance_wakes", Kind::Counter, "How often a request woke it", |t, i, l| {
        t.counter(l, i.wakes, i.since_ms)
    }),
    (
        "tenement_instance_restarts",
        Kind::Counter,
        "How often it was started again because it crashed or was unhealthy",
        |t, i, l| t.counter(l, i.restarts, i.since_ms),
    ),
    (
        "tenement_instance_active_seconds",
        Kind::Counter,
        "Time awake: neither asleep nor frozen nor parked",
        |t, i, l| t.counter(l, seconds(i.active_ms, 1e3), i.since_ms),
    ),
    (
        "tenement_instance_sleep_timestamp_seconds",
        Kind::Gauge,
        "When it sleeps if nothing uses it until then",
        |t, i, l| {
            if let Some(ms) = i.sleeps_ms {
                t.gauge(l, seconds(ms, 1e3))
            }
        },
    ),
    (
        "tenement_instance_memory_bytes",
        Kind::Gauge,
        "Memory of its processes and their caches",
        |t, i, l| {
            if let Some(bytes) = i.used.memory {
                t.gauge(l, bytes)
            }
        },
    ),
    ("tenement_instance_tasks", Kind::Gauge, "Its processes and threads", |t, i, l| {
        if let Some(tasks) = i.used.tasks {
            t.gauge(l, tasks)
        }
    }),
    ("tenement_instance_cpu_seconds", Kind::Counter, "CPU time of its processes", |t, i, l| {
        if let Some(us) = i.cpu_us {
            t.counter_since_unknown(l, seconds(us, 1e6))
        }
    }),
    (
        "tenement_instance_io_read_bytes",
        Kind::Counter,
        "Bytes read from block devices since it was started",
        |t, i, l| {
            if let Some(bytes) = i.used.read {
                t.counter_since_unknown(l, bytes)
            }
        },
    ),
    (
        "tenement_instance_io_written_bytes",
        Kind::Counter,
        "Bytes written to block devices since it was started",
        |t, i, l| {
            if let Some(bytes) = i.used.written {
                t.counter_since_unknown(l, bytes)
            }
        },
    ),
    (
        "tenement_instance_ip_received_bytes",
        Kind::Counter,
        "Bytes received over IP since it was started, asked for once a minute",
        |t, i, l| {
            if let Some((received, _)) = i.ip {
                t.counter_since_unknown(l, received)
            }
        },
    ),
    (
        "tenement_instance_ip_sent_bytes",
        Kind::Counter,
        "Bytes sent over IP since it was started, asked for once a minute",
        |t, i, l| {
            if let Some((_, sent)) = i.ip {
                t.counter_since_unknown(l, sent)
            }
        },
    ),
    (
        "tenement_instance_disk_bytes",
        Kind::Gauge,
        "Size of its data when it was last measured",
        |t, i, l| {
            if let Some(bytes) = i.disk {
                t.gauge(l, bytes)
            }
        },
    ),
    (
        "tenement_instance_disk_quota_bytes",
        Kind::Gauge,
        "The most that its data may be",
        |t, i, l| {
            if let Some(bytes) = i.disk_max {
                t.gauge(l, bytes)
            }
        },
    ),
    (
        "tenement_request_duration_seconds",
        Kind::Histogram,
        "From the head of a request to the end of its answer",
        |t, i, l| {
            let took = &i.reading.took;
            if took.count() > 0 {
                t.histogram(l, &took.buckets, bound, seconds(took.sum_ns, 1e9), i.since_ms);
            }
        },
    ),
    (
        "tenement_requests_gone",
        Kind::Counter,
        "Requests whose client went away before the answer",
        |t, i, l| {
            let gone = i.reading.statuses.iter().find(|(status, _)| *status == CLIENT_GONE);
            if let Some((_, count)) = gone {
                t.counter(l, count, i.since_ms)
            }
        },
    ),
    // Its labels are more than the instance's: see `requests`.
    (
        "tenement_requests",
        Kind::Counter,
        "Requests answered, by the instance or for it",
        |_, _, _| (),
    ),
];

fn seconds(units: u64, of_a_second: f64) -> f64 {
    units as f64 / of_a_second
}

/// Writes the families of all instances that are told of.
pub(super) fn write(text: &mut Text, scrape: &Scrape) {
    let labels: Vec<String> = scrape
        .instances
        .iter()
        // Names are labels of DNS: nothing in them has to be escaped.
        .map(|one| format!("process=\"{}\",id=\"{}\"", one.name.process(), one.name.id()))
        .collect();
    let instances = || scrape.instances.iter().zip(&labels);
    for (name, kind, help, sample) in FAMILIES {
        text.family(name, kind, help);
        instances().for_each(|(instance, labels)| sample(text, instance, labels));
        if name == "tenement_requests" {
            instances().for_each(|(one, labels)| requests(text, one, labels, scrape.exact_status));
        }
    }
}

fn requests(text: &mut Text, instance: &InstanceScrape, labels: &str, exact: bool) {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for (status, count) in &instance.reading.statuses {
        let word = match exact && *status >= 10 {
            true => status.to_string(),
            false => format!("{}xx", class(*status)),
        };
        *counts.entry(word).or_default() += count;
    }
    for (status, count) in counts {
        text.counter(&format!("{labels},status=\"{status}\""), count, instance.since_ms);
    }
}
