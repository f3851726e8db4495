//! `ten deploy`: a release is made, and its process runs from it.

mod ignore;
mod upload;

use tenement_wire::ReleaseName;

use crate::args::Deploy;
use crate::client::Agent;
use crate::error::{CliError, Result};
use crate::output::{BOLD, Output};

pub use upload::make;

/// Does what the command line says.
pub fn run(agent: &Agent, out: Output, args: &Deploy) -> Result<()> {
    let mut from = args.from.clone();
    if let (None, Some(version)) = (&from.release, &args.how.version) {
        // Its instance is named after it; an id is a name of a release, too.
        from.release = ReleaseName::new(version.as_str()).ok();
    }
    if from.path.is_none() && from.git.is_none() {
        let (Some(release), false) = (from.release, args.upload_only) else {
            return Err(CliError::usage(
                "there is nothing to make a release of",
                "name a directory, a tar file or --git REPO",
            ));
        };
        return super::rollout::deploy(agent, out, &args.process, release, &args.how);
    }
    let view = make(agent, out, &args.process, &from)?;
    if !args.upload_only {
        return super::rollout::deploy(agent, out, &view.process, view.name, &args.how);
    }
    if out.json {
        return out.json(&view);
    }
    let (process, name) = (&view.process, &view.name);
    out.say(&format!("release {BOLD}{name}{BOLD:#} of {process} is ready"));
    Ok(())
}
