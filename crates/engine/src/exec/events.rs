//! The events of an exec: the container's, with the exec's id.

use super::Exec;
use crate::Engine;
use crate::container::Container;

impl Engine {
    pub(crate) fn exec_event(&self, container: &Container, exec: &Exec, action: &str, extra: &[(&str, &str)]) {
        let id = exec.id.to_string();
        let mut attributes = vec![("execID", id.as_str())];
        attributes.extend_from_slice(extra);
        self.container_event(container, action, &attributes);
    }
}
