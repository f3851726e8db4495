//! tenement-unitd: the privileged helper.

use std::process::ExitCode;

use tenement_agent::unitd;

fn main() -> ExitCode {
    start_logging();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            log::error!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(unitd::run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// To the journal, with fields. Without a journal there is nobody to tell, and units matter more.
fn start_logging() {
    if let Ok(logger) = systemd_journal_logger::JournalLog::new()
        && logger.with_syslog_identifier("tenement-unitd".to_owned()).install().is_ok()
    {
        log::set_max_level(log::LevelFilter::Info);
    }
}
