//! What a driver does with lines.

use crate::config::{Config, Driver};
use crate::{fluentd::Fluentd, gelf::Gelf, journald::Journald, splunk::Splunk, syslog::Syslog};
use gantry_container_logs::feed::Line;
use std::io;
use std::time::Instant;

/// One receiver.
pub(crate) trait Forward {
    /// Reaches the receiver, so that a container whose log has nowhere to go does not start.
    fn open(&mut self) -> io::Result<()>;

    /// Hands one line on. After an error it was not delivered and is sent again.
    fn send(&mut self, line: &Line) -> io::Result<()>;

    /// When [`Forward::flush`] is due because of lines that were taken and not yet sent.
    fn due(&self) -> Option<Instant> {
        None
    }

    /// Sends what was taken. After an error it is still there.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The driver of a configuration.
pub(crate) fn of(config: Config) -> Box<dyn Forward> {
    let Config { subject, driver } = config;
    match driver {
        Driver::Syslog(options) => Box::new(Syslog::new(options, &subject)),
        Driver::Gelf(options) => Box::new(Gelf::new(options, &subject)),
        Driver::Fluentd(options) => Box::new(Fluentd::new(options, subject)),
        Driver::Splunk(options) => Box::new(Splunk::new(*options, &subject)),
        Driver::Journald => Box::new(Journald::new(&subject)),
    }
}
