//! Two names, one daemon: called as `dockerd` it uses the places dockerd uses, except for the
//! state on disk, which is not interchangeable.

/// By which name the program was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Personality {
    /// `gantry daemon`.
    Gantry,
    /// `dockerd`, a link to the binary.
    Dockerd,
}

impl Personality {
    /// Reads `argv[0]`.
    pub(crate) fn of(program: &str) -> Self {
        match program.rsplit('/').next() {
            Some("dockerd") => Self::Dockerd,
            _ => Self::Gantry,
        }
    }

    /// The configuration file that may be absent.
    pub(crate) fn config_file(self) -> &'static str {
        match self {
            Self::Gantry => "/etc/gantry/daemon.json",
            Self::Dockerd => "/etc/docker/daemon.json",
        }
    }

    /// Where to listen when nobody says.
    pub(crate) fn host(self) -> &'static str {
        match self {
            Self::Gantry => "unix:///run/gantry.sock",
            Self::Dockerd => "unix:///var/run/docker.sock",
        }
    }

    /// The pid file when nobody names one.
    pub(crate) fn pidfile(self) -> &'static str {
        match self {
            Self::Gantry => "/run/gantry.pid",
            Self::Dockerd => "/var/run/docker.pid",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_names() {
        assert_eq!(Personality::of("/usr/bin/dockerd"), Personality::Dockerd);
        assert_eq!(Personality::of("dockerd"), Personality::Dockerd);
        assert_eq!(Personality::of("/opt/gantry"), Personality::Gantry);
        assert_eq!(Personality::of(""), Personality::Gantry);
    }
}
