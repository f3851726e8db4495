//! The two text formats that Prometheus reads: its own (version 0.0.4) and OpenMetrics 1.0.
//!
//! Written here and not by a library, because each answer is one pass over what was read anyway, in either
//! format, with the time at which each counter began (`_created`); `prometheus-client` keeps its own copy of
//! every series, writes OpenMetrics alone, and no `_created`.

use std::fmt::{Display, Write as _};

/// A text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `text/plain; version=0.0.4`
    Prometheus,
    /// `application/openmetrics-text; version=1.0.0`
    OpenMetrics,
}

impl Format {
    /// Its media type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What a family is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counts by upper bounds.
    Histogram,
}

/// Writes families, one after the other.
pub struct Text {
    out: String,
    format: Format,
    family: &'static str,
    kind: Kind,
    help: &'static str,
    begun: bool,
}

impl Text {
    /// An empty text with room for `bytes`.
    #[must_use]
    pub fn new(format: Format, bytes: usize) -> Self {
        let out = String::with_capacity(bytes);
        Self { out, format, family: "", kind: Kind::Gauge, help: "", begun: true }
    }

    /// Begins a family. Its name has no `_total`. One without samples is left out.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &'static str) {
        (self.family, self.kind, self.help, self.begun) = (name, kind, help, false);
    }

    fn begin(&mut self) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        let Self { family, help, .. } = self;
        // Prometheus's own format knows a counter by its full name, OpenMetrics by that of its family.
        let suffix = match (self.format, self.kind) {
            (Format::Prometheus, Kind::Counter) => "_total",
            _ => "",
        };
        let kind = match self.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let _ = writeln!(self.out, "# HELP {family}{suffix} {help}");
        let _ = writeln!(self.out, "# TYPE {family}{suffix} {kind}");
        let unit = ["seconds", "bytes"]
            .into_iter()
            .find(|unit| family.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_')));
        if let Some(unit) = unit.filter(|_| self.format == Format::OpenMetrics) {
            let _ = writeln!(self.out, "# UNIT {family} {unit}");
        }
    }

    fn line(&mut self, suffix: &str, labels: &str, value: impl Display) {
        self.out.push_str(self.family);
        self.out.push_str(suffix);
        if !labels.is_empty() {
            self.out.push('{');
            self.out.push_str(labels);
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }

    /// A sample of a gauge.
    pub fn gauge(&mut self, labels: &str, value: impl Display) {
        self.begin();
        self.line("", labels, value);
    }

    /// A sample of a counter that was 0 at `since_ms` (Unix milliseconds).
    pub fn counter(&mut self, labels: &str, value: impl Display, since_ms: u64) {
        self.begin();
        self.line("_total", labels, value);
        self.created(labels, since_ms);
    }

    /// A sample of a counter that began at nobody knows when: what the kernel counts of a service that an earlier
    /// agent started, for one.
    pub fn counter_since_unknown(&mut self, labels: &str, value: impl Display) {
        self.begin();
        self.line("_total", labels, value);
    }

    /// A histogram: counts by bucket, of which the last has no bound, and the sum of what was counted.
    pub fn histogram(
        &mut self,
        labels: &str,
        buckets: &[u64],
        bound: impl Fn(usize) -> Option<f64>,
        sum: f64,
        since_ms: u64,
    ) {
        self.begin();
        let (comma, mut total) = (if labels.is_empty() { "" } else { "," }, 0);
        for (at, count) in buckets.iter().enumerate() {
            total += count;
            let (out, family) = (&mut self.out, self.family);
            // With a point in both formats, so that both make the same series.
            let _ = match bound(at) {
                Some(le) => {
                    writeln!(out, "{family}_bucket{{{labels}{comma}le=\"{le:?}\"}} {total}")
                }
                None => writeln!(out, "{family}_bucket{{{labels}{comma}le=\"+Inf\"}} {total}"),
            };
        }
        self.line("_sum", labels, sum);
        self.line("_count", labels, total);
        self.created(labels, since_ms);
    }

    /// When a counter was 0: OpenMetrics alone has a place for it.
    fn created(&mut self, labels: &str, since_ms: u64) {
        if self.format == Format::OpenMetrics {
            let (seconds, ms) = (since_ms / 1000, since_ms % 1000);
            self.line("_created", labels, format_args!("{seconds}.{ms:03}"));
        }
    }

    /// The whole text.
    #[must_use]
    pub fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }
}

/// A value of a label, with what would end it escaped.
#[must_use]
pub fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: Format) -> String {
        let mut text = Text::new(format, 100);
        text.family("a_requests", Kind::Counter, "Requests");
        text.counter("id=\"x\"", 7, 1_500);
        text.family("nothing", Kind::Gauge, "Not told of");
        text.family("a_seconds", Kind::Histogram, "Times");
        text.histogram("", &[1, 0, 2], |at| [Some(0.5), Some(1.0), None][at], 4.25, 2_000);
        text.family("a_info", Kind::Gauge, "Info");
        text.gauge(&format!("v=\"{}\"", escaped("a\"b\\c\n")), 1);
        text.finish()
    }

    #[test]
    fn prometheus_s_own_format() {
        let expected = "# HELP a_requests_total Requests\n# TYPE a_requests_total counter\n\
            a_requests_total{id=\"x\"} 7\n# HELP a_seconds Times\n# TYPE a_seconds histogram\n\
            a_seconds_bucket{le=\"0.5\"} 1\na_seconds_bucket{le=\"1.0\"} 1\n\
            a_seconds_bucket{le=\"+Inf\"} 3\na_seconds_sum 4.25\na_seconds_count 3\n\
            # HELP a_info Info\n# TYPE a_info gauge\na_info{v=\"a\\\"b\\\\c\\n\"} 1\n";
        assert_eq!(written(Format::Prometheus), expected);
    }

    #[test]
    fn openmetrics_with_units_and_the_time_of_the_beginning() {
        let expected = "# HELP a_requests Requests\n# TYPE a_requests counter\n\
            a_requests_total{id=\"x\"} 7\na_requests_created{id=\"x\"} 1.500\n\
            # HELP a_seconds Times\n# TYPE a_seconds histogram\n# UNIT a_seconds seconds\n\
            a_seconds_bucket{le=\"0.5\"} 1\na_seconds_bucket{le=\"1.0\"} 1\n\
            a_seconds_bucket{le=\"+Inf\"} 3\na_seconds_sum 4.25\na_seconds_count 3\n\
            a_seconds_created 2.000\n# HELP a_info Info\n# TYPE a_info gauge\n\
            a_info{v=\"a\\\"b\\\\c\\n\"} 1\n# EOF\n";
        assert_eq!(written(Format::OpenMetrics), expected);
    }
}
