//! The table without a terminal.

use clap::builder::styling::Style;
use serde_json::json;

use super::draw::{HEADINGS, cells, host, tenants};
use super::feed;
use super::model::Model;
use crate::client::Agent;
use crate::error::Result;
use crate::output::Output;
use crate::table::Listing;

/// Prints one look.
pub fn print(agent: &Agent, out: Output, mut model: Model) -> Result<()> {
    model.take(feed::snapshot(agent, true)?);
    let rows = model.rows();
    if out.json {
        return out.json(&json!({ "summary": model.snapshot().summary, "instances": rows }));
    }
    if out.quiet {
        return out.data(&rows.iter().map(|row| format!("{}\n", row.name)).collect::<String>());
    }
    let mut listing = Listing::new(&HEADINGS.map(|(word, _)| word));
    for row in rows {
        listing.row(Style::new(), &cells(row));
    }
    let summary = &model.snapshot().summary;
    out.data(&format!("{}\n{}\n\n{}", host(summary), tenants(summary), listing.render()))
}
