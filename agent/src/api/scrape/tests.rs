//! What a scrape tells, without an agent.

use std::time::Duration;

use super::*;
use crate::flows::metrics::InstanceScrape;
use crate::flows::metrics::meter::{BOUNDS, Meter};
use crate::kernel::Used;

fn instance(name: &str) -> InstanceScrape {
    let meter = Meter::default();
    meter.answered(200, Duration::from_millis(3));
    meter.answered(404, Duration::from_millis(3));
    meter.sent(11);
    InstanceScrape {
        name: name.parse().unwrap(),
        since_ms: 1_000,
        up: true,
        failed: false,
        release: "v2".parse().ok(),
        reading: meter.read(),
        in_flight: 1,
        wakes: 2,
        restarts: 0,
        active_ms: 1_500,
        sleeps_ms: None,
        used: Used { memory: Some(4096), cpu_us: Some(2_500_000), ..Used::default() },
        cpu_us: Some(2_500_000),
        ip: None,
        disk: None,
        disk_max: Some(1 << 20),
    }
}

fn scrape(names: &[&str]) -> Scrape {
    Scrape { instances: names.iter().map(|name| instance(name)).collect(), ..Scrape::default() }
}

fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
    HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
}

#[test]
fn the_series_of_the_issue_are_there_and_unknown_figures_are_not() {
    let text = render(&scrape(&["api:prod"]), Format::Prometheus, true);
    let who = "process=\"api\",id=\"prod\"";
    for line in [
        format!("tenement_requests_total{{{who},status=\"2xx\"}} 1\n"),
        format!("tenement_requests_total{{{who},status=\"4xx\"}} 1\n"),
        format!("tenement_request_duration_seconds_bucket{{{who},le=\"0.00390625\"}} 2\n"),
        format!("tenement_request_duration_seconds_bucket{{{who},le=\"+Inf\"}} 2\n"),
        format!("tenement_request_duration_seconds_count{{{who}}} 2\n"),
        format!("tenement_instance_up{{{who}}} 1\n"),
        format!("tenement_instance_restarts_total{{{who}}} 0\n"),
        format!("tenement_instance_active_seconds_total{{{who}}} 1.5\n"),
        format!("tenement_instance_cpu_seconds_total{{{who}}} 2.5\n"),
        format!("tenement_instance_memory_bytes{{{who}}} 4096\n"),
        format!("tenement_instance_sent_bytes_total{{{who}}} 11\n"),
        "tenement_wakes_total{tier=\"frozen\",outcome=\"ok\"} 0\n".into(),
        "tenement_wake_duration_seconds_count{tier=\"stopped\"} 0\n".into(),
    ] {
        assert!(text.contains(&line), "{line}is missing in\n{text}");
    }
    for unknown in ["io_read", "tasks{process", "ip_sent", "sleep_timestamp", "disk_bytes{"] {
        assert!(!text.contains(unknown), "{unknown} in\n{text}");
    }
}

#[test]
fn a_status_is_told_as_it_is_when_the_config_says_so() {
    let exact = Scrape { exact_status: true, ..scrape(&["api:prod"]) };
    let text = render(&exact, Format::Prometheus, false);
    assert!(text.contains("status=\"404\"} 1\n") && !text.contains("4xx"), "{text}");
}

#[test]
fn who_may_not_see_the_whole_sees_nothing_of_the_host() {
    let text = render(&scrape(&["api:prod"]), Format::Prometheus, false);
    assert!(!text.contains("tenement_host") && !text.contains("process_cpu"), "{text}");
    assert!(text.contains("tenement_instance_up{"), "{text}");
}

#[test]
fn every_family_is_whole_and_told_once_in_both_formats() {
    for format in [Format::Prometheus, Format::OpenMetrics] {
        let text = render(&scrape(&["api:a", "api:b", "web:1"]), format, true);
        let mut seen = std::collections::HashSet::new();
        let mut family = "";
        for line in text.lines().filter(|line| *line != "# EOF") {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                family = rest.split(' ').next().unwrap();
                assert!(seen.insert(family), "{family} twice in {format:?}");
            } else if !line.starts_with('#') {
                assert!(line.starts_with(family), "{line} is not of {family}");
            }
        }
        assert_eq!(text.ends_with("# EOF\n"), format == Format::OpenMetrics);
        assert_eq!(text.matches("le=\"").count(), (BOUNDS + 1) * 7);
    }
}

#[test]
fn the_format_is_what_accept_prefers() {
    let accept = |value: &str| wanted(&headers(header::ACCEPT, value));
    assert_eq!(wanted(&HeaderMap::new()), Format::Prometheus);
    assert_eq!(accept("*/*"), Format::Prometheus);
    assert_eq!(accept("text/plain"), Format::Prometheus);
    assert_eq!(accept("application/openmetrics-text"), Format::OpenMetrics);
    // What Prometheus 2.42 and 2.53 send.
    let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    assert_eq!(accept(prometheus), Format::OpenMetrics);
    assert_eq!(accept("application/openmetrics-text;q=0.2,text/plain;q=0.3"), Format::Prometheus);
}

#[test]
fn gzip_is_used_where_it_is_taken_and_comes_apart_again() {
    let takes = |value: &str| takes_gzip(&headers(header::ACCEPT_ENCODING, value));
    assert!(takes("gzip") && takes("br, gzip;q=0.1") && takes("*"));
    assert!(!takes("gzip;q=0, *") && !takes("br") && !takes_gzip(&HeaderMap::new()));
    let text = render(&scrape(&["api:prod"]), Format::OpenMetrics, true);
    let packed = compressed(text.as_bytes()).unwrap();
    assert!(packed.len() * 4 < text.len());
    let mut unpacked = String::new();
    let mut decoder = flate2::read::GzDecoder::new(packed.as_slice());
    std::io::Read::read_to_string(&mut decoder, &mut unpacked).unwrap();
    assert_eq!(unpacked, text);
}

/// A scrape in which nothing is unknown.
fn full() -> Scrape {
    let used = Used {
        memory: Some(4096),
        cpu_us: Some(1),
        read: Some(512),
        written: Some(1024),
        tasks: Some(3),
    };
    let (ip, sleeps_ms) = (Some((70, 80)), Some(2_500));
    let (disk, failed, restarts) = (Some(900), true, 4);
    let mut one = InstanceScrape {
        used,
        ip,
        sleeps_ms,
        disk,
        failed,
        restarts,
        in_flight: 5,
        ..instance("api:prod")
    };
    let meter = Meter::default();
    meter.answered(499, Duration::from_secs(1));
    meter.took_in(33);
    one.reading = meter.read();
    let stalled =
        crate::kernel::Stalled { some_percent: 0.0, some_us: 1_500_000, full_us: Some(500_000) };
    let mut wakes = <Scrape as Default>::default().wakes;
    wakes[2][1] = 6;
    let deploy = (
        "api".parse().unwrap(),
        tenement_wire::deploys::Strategy::InPlace,
        tenement_wire::deploys::DeployState::Failed,
    );
    let name = "api:prod".parse().unwrap();
    Scrape {
        instances: vec![one],
        omitted: 2,
        wakes,
        deploys: [(deploy, 1)].into(),
        stalled: vec![("memory", stalled)],
        tokens: Some(tenement_wire::tokens::TokenChecks { refused: 9, ..Default::default() }),
        logs: Some((100, 2_000_000)),
        certificates: vec![crate::tls::Expiry {
            name: "example.com".into(),
            ends: 2_000,
            begins: 1_000,
        }],
        backups: vec![crate::flows::backups::BackupFigures {
            name,
            last: Some((7_000, 64)),
            due_ms: Some(9_000),
            failures: 0,
        }],
        store_works: true,
        ..Scrape::default()
    }
}

#[test]
fn every_figure_of_the_issue_is_told_by_its_value() {
    let text = render(&full(), Format::Prometheus, true);
    let who = "{process=\"api\",id=\"prod\"}";
    let failed = "{tier=\"stopped\",outcome=\"failed\"}";
    let deploy = "{process=\"api\",strategy=\"in-place\",outcome=\"failed\"}";
    for line in [
        format!("tenement_instance_failed{who} 1"),
        format!("tenement_instance_requests_in_flight{who} 5"),
        format!("tenement_instance_received_bytes_total{who} 33"),
        format!("tenement_instance_restarts_total{who} 4"),
        format!("tenement_instance_sleep_timestamp_seconds{who} 2.5"),
        format!("tenement_instance_tasks{who} 3"),
        format!("tenement_instance_io_read_bytes_total{who} 512"),
        format!("tenement_instance_io_written_bytes_total{who} 1024"),
        format!("tenement_instance_ip_received_bytes_total{who} 70"),
        format!("tenement_instance_ip_sent_bytes_total{who} 80"),
        format!("tenement_instance_disk_bytes{who} 900"),
        format!("tenement_instance_disk_quota_bytes{who} 1048576"),
        format!("tenement_requests_gone_total{who} 1"),
        format!("tenement_wakes_total{failed} 6"),
        format!("tenement_deploys_total{deploy} 1"),
        "tenement_host_stalled_seconds_total{resource=\"memory\",tasks=\"some\"} 1.5".into(),
        "tenement_host_stalled_seconds_total{resource=\"memory\",tasks=\"all\"} 0.5".into(),
        "tenement_token_failures_total{reason=\"wrong\"} 9".into(),
        "tenement_log_lines_total 100".into(),
        "tenement_log_index_lag_seconds 2".into(),
        "tenement_certificate_expiry_timestamp_seconds{name=\"example.com\"} 2000".into(),
        "tenement_certificate_not_before_timestamp_seconds{name=\"example.com\"} 1000".into(),
        format!("tenement_backup_last_success_timestamp_seconds{who} 7"),
        format!("tenement_backup_size_bytes{who} 64"),
        format!("tenement_backup_due_timestamp_seconds{who} 9"),
        format!("tenement_backup_failures_total{who} 0"),
        "tenement_state_database_up 1".into(),
        "tenement_instances_omitted 2".into(),
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line} is missing in\n{text}");
    }
}

#[test]
fn who_sees_only_its_own_instances_sees_their_backups() {
    let text = render(&full(), Format::Prometheus, false);
    assert!(text.contains("tenement_backup_due_timestamp_seconds{"), "{text}");
    assert!(!text.contains("tenement_deploys") && !text.contains("certificate"), "{text}");
}

#[test]
fn what_the_kernel_counts_has_no_beginning_that_an_agent_made_up() {
    let text = render(&full(), Format::OpenMetrics, true);
    for family in ["instance_cpu_seconds", "instance_io_read_bytes", "instance_ip_sent_bytes"] {
        assert!(text.contains(&format!("tenement_{family}_total{{")), "{family}");
        assert!(!text.contains(&format!("tenement_{family}_created")), "{family}");
    }
    assert!(text.contains("tenement_requests_created{"), "the agent's own have one");
}

#[test]
fn scrapers_that_would_rather_have_protobuf_get_text() {
    let accept = |value: &str| wanted(&headers(header::ACCEPT, value));
    let protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    assert_eq!(accept(protobuf), Format::OpenMetrics);
    let three = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
    assert_eq!(accept(three), Format::OpenMetrics);
    assert_eq!(accept("application/vnd.google.protobuf, text/plain;q=0.1"), Format::Prometheus);
}
