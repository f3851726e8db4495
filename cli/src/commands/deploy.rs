//! `ten deploy`: a release is made, and its process runs from it.

mod ignore;
mod upload;

use tenement_wire::ReleaseView;

use crate::args::Deploy;
use crate::client::Agent;
use crate::error::Result;
use crate::output::{BOLD, Output};

pub use upload::make;

/// Does what the command line says.
pub fn run(agent: &Agent, out: Output, args: &Deploy) -> Result<()> {
    let view = make(agent, out, &args.process, &args.from)?;
    let view = if args.upload_only { view } else { adopt(agent, &view)? };
    if out.json {
        return out.json(&view);
    }
    let (process, name) = (&view.process, &view.name);
    if args.upload_only {
        out.say(&format!("release {BOLD}{name}{BOLD:#} of {process} is ready"));
    } else {
        out.say(&format!(
            "{process} runs from {BOLD}{name}{BOLD:#}, each instance from its next start on"
        ));
    }
    Ok(())
}

fn adopt(agent: &Agent, view: &ReleaseView) -> Result<ReleaseView> {
    agent.post(&format!("/processes/{}/releases/{}/use", view.process, view.name))
}
