//! What is told of backups and restores that did not go.

use http::StatusCode;

use super::Problem;
use crate::flows::backups::BackupError;

impl From<BackupError> for Problem {
    fn from(error: BackupError) -> Self {
        use StatusCode as S;
        let text = error.to_string();
        match error {
            BackupError::Manage(error) => error.into(),
            BackupError::NoTarget(process) => {
                let hint = format!(
                    "add [process.{process}.backup] with to = \"/srv/backups\" to the config and reload it, or use \
                     ten backup PROCESS:ID --output FILE"
                );
                Self::new(S::CONFLICT, "no_backup_target", text, &hint)
            }
            BackupError::Missing(_) => Self::new(
                S::NOT_FOUND,
                "unknown_backup",
                text,
                "ten backup ls PROCESS:ID lists them",
            ),
            BackupError::BadArchive(_) => {
                let hint = "nothing was changed; take another archive made by ten backup";
                Self::new(S::UNPROCESSABLE_ENTITY, "bad_archive", text, hint)
            }
            BackupError::Another { found, .. } => {
                let hint = format!(
                    "nothing was changed; name {found} and where its data is to go: ten restore {found} FILE --to \
                     PROCESS:ID"
                );
                Self::new(S::UNPROCESSABLE_ENTITY, "bad_archive", text, &hint)
            }
            BackupError::Held { .. } => {
                let hint = "use --method online, or raise hold_max below [process.NAME.backup]";
                Self::new(S::GATEWAY_TIMEOUT, "held_too_long", text, hint)
            }
            BackupError::Failed(_) => {
                let hint = "the data is as it was; ten events --kind backup-failed and journalctl -u tenement say more";
                Self::new(S::BAD_GATEWAY, "backup_failed", text, hint)
            }
        }
    }
}
