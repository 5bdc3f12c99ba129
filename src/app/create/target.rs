//! Where a new torrent goes.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::app::failure::{Exit, Failure};

/// The value of `--output`, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// `PATH.torrent`
    Beside,
    /// A file, or a folder if one is there.
    Named(PathBuf),
    /// Standard output.
    Stdout,
}

impl Target {
    pub(super) fn from_option(value: OsString) -> Self {
        if value == "-" {
            Self::Stdout
        } else {
            Self::Named(value.into())
        }
    }

    /// Whether several torrents can go there.
    pub(super) fn takes_several(&self) -> bool {
        match self {
            Self::Beside => true,
            Self::Named(path) => is_folder(path),
            Self::Stdout => false,
        }
    }

    /// The file for the torrent of `payload`; `None` is standard output.
    ///
    /// # Errors
    /// If `payload` has no name that could be told from the path.
    pub(super) fn file_for(&self, payload: &Path) -> Result<Option<PathBuf>, Failure> {
        Ok(Some(match self {
            Self::Stdout => return Ok(None),
            Self::Beside => with_suffix(&named(payload)?),
            Self::Named(path) if is_folder(path) => {
                let payload = with_suffix(&named(payload)?);
                path.join(payload.file_name().unwrap_or_default())
            }
            Self::Named(path) => path.clone(),
        }))
    }
}

fn is_folder(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(b"/") || path.is_dir()
}

/// The path with a name at its end: `.` and `x/..` become what they mean.
fn named(payload: &Path) -> Result<PathBuf, Failure> {
    if payload.file_name().is_some() {
        return Ok(payload.to_owned());
    }
    let real = fs::canonicalize(payload)
        .map_err(|error| Failure::new(Exit::Storage, "read", payload.display(), error))?;
    if real.file_name().is_none() {
        let cause = "the torrent has no name; --output gives it one";
        return Err(Failure::new(Exit::Failed, "name", payload.display(), cause));
    }
    Ok(real)
}

fn with_suffix(payload: &Path) -> PathBuf {
    let mut name = payload.file_name().unwrap_or_default().to_owned();
    name.push(".torrent");
    payload.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beside(payload: &str) -> Option<PathBuf> {
        Target::Beside.file_for(Path::new(payload)).unwrap()
    }

    #[test]
    fn a_torrent_lies_beside_its_payload_unless_told_otherwise() {
        assert_eq!(beside("a/b.iso"), Some("a/b.iso.torrent".into()));
        assert_eq!(beside("dir/"), Some("dir.torrent".into()));
        assert_eq!(beside("./dir/."), Some("./dir.torrent".into()));
        let here = std::env::current_dir().unwrap();
        let name = format!("{}.torrent", here.file_name().unwrap().to_str().unwrap());
        assert_eq!(beside("."), Some(here.with_file_name(name)));
        assert!(Target::Beside.file_for(Path::new("/")).is_err());
    }

    #[test]
    fn an_output_is_a_file_a_folder_or_a_dash() {
        let file_for = |output: &str| {
            let target = Target::from_option(output.into());
            target.file_for(Path::new("x/pay")).unwrap()
        };
        assert_eq!(file_for("-"), None);
        assert_eq!(file_for("y.torrent"), Some("y.torrent".into()));
        assert_eq!(file_for("new/"), Some("new/pay.torrent".into()));
        assert_eq!(file_for("src"), Some("src/pay.torrent".into()));
        assert!(Target::from_option("src".into()).takes_several());
        assert!(!Target::from_option("y.torrent".into()).takes_several());
    }
}
