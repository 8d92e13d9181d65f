//! Finding the program, as Go's `exec.LookPath` and so runc does it, with its error texts.

use crate::failure::{Failure, Result, Stage, errno_text};
use gantry_linux::process::may_execute;
use std::ffi::CString;
use std::io;

/// The path of the program to execute, for the calling process' user and working directory.
pub(crate) fn find(program: &str, env: &[String]) -> Result<CString> {
    if program.contains('/') {
        return match check(program) {
            Ok(path) => Ok(path),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let text = errno_text(&e);
                Err(failure(Stage::NotFound, &e, format!("exec: {program:?}: stat {program}: {text}")))
            }
            Err(e) => Err(failure(Stage::NotExecutable, &e, format!("exec: {program:?}: {}", errno_text(&e)))),
        };
    }
    let path = env.iter().rev().find_map(|e| e.strip_prefix("PATH=")).unwrap_or_default();
    for dir in path.split(':').filter(|_| !path.is_empty() && !program.is_empty()) {
        let dir = if dir.is_empty() { "." } else { dir };
        if let Ok(found) = check(&format!("{dir}/{program}")) {
            return Ok(found);
        }
    }
    Err(Failure::new(Stage::NotFound, format!("exec: {program:?}: executable file not found in $PATH")))
}

/// Why the exec itself failed.
pub(crate) fn exec_failure(program: &CString, error: &io::Error) -> Failure {
    // ENOENT of an existing file: its interpreter is missing.
    let stage = if error.kind() == io::ErrorKind::NotFound { Stage::NotFound } else { Stage::NotExecutable };
    failure(stage, error, format!("exec {}: {}", program.to_string_lossy(), errno_text(error)))
}

fn failure(stage: Stage, error: &io::Error, message: String) -> Failure {
    Failure { stage, errno: error.raw_os_error().unwrap_or(0), message }
}

fn check(path: &str) -> io::Result<CString> {
    let stat = rustix::fs::stat(path)?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory {
        return Err(io::Error::from_raw_os_error(libc::EISDIR));
    }
    let path = CString::new(path)?;
    match may_execute(&path) {
        // Kernels before 5.8 lack faccessat2, and seccomp profiles may: the mode must do.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) && stat.st_mode & 0o111 != 0 => Ok(path),
        other => other.map(|()| path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn message(program: &str, path: &str) -> (Stage, String) {
        let failure = find(program, &[format!("PATH={path}")]).unwrap_err();
        (failure.stage, failure.message)
    }

    #[test]
    fn errors_read_as_runcs() {
        let not_found = |m: &str| (Stage::NotFound, m.to_owned());
        assert_eq!(message("foo-x", "/bin"), not_found("exec: \"foo-x\": executable file not found in $PATH"));
        assert_eq!(message("foo-x", ""), not_found("exec: \"foo-x\": executable file not found in $PATH"));
        assert_eq!(message("/foo-x", "/bin"), not_found("exec: \"/foo-x\": stat /foo-x: no such file or directory"));
        assert_eq!(message("/etc", "/bin"), (Stage::NotExecutable, "exec: \"/etc\": is a directory".into()));
        assert_eq!(
            message("/etc/passwd", "/bin"),
            (Stage::NotExecutable, "exec: \"/etc/passwd\": permission denied".into())
        );
    }

    #[test]
    fn the_first_executable_in_the_path_wins() {
        let dir = tempfile::tempdir().unwrap();
        for (sub, mode) in [("a", 0o644), ("b", 0o755), ("c", 0o755)] {
            std::fs::create_dir(dir.path().join(sub)).unwrap();
            let file = dir.path().join(sub).join("prog");
            std::fs::write(&file, "").unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let root = dir.path().display();
        let found = find("prog", &[format!("PATH={root}/none:{root}/a:{root}/b:{root}/c")]).unwrap();
        assert_eq!(found.to_str().unwrap(), format!("{root}/b/prog"));
    }
}
