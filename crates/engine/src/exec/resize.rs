//! `POST /exec/{id}/resize`.

use super::ExecState;
use crate::Engine;
use gantry_model::{Error, Result};
use rustix::termios::{Winsize, tcsetwinsize};
use std::sync::PoisonError;

impl Engine {
    /// Sets the size of an exec's terminal.
    pub async fn exec_resize(&self, id: &str, rows: u16, cols: u16) -> Result<()> {
        let exec = self.execs.find(id)?;
        // Clients resize as soon as the stream is open; the process may be a moment behind.
        let mut state = exec.state.subscribe();
        let settled = state.wait_for(|s| *s != ExecState::Starting).await.map(|s| *s);
        if !matches!(settled, Ok(ExecState::Running { .. })) {
            return Err(Error::conflict(format!("Exec {id} is not running")));
        }
        let terminal = exec.terminal.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(terminal) = terminal else {
            return Err(Error::invalid(format!("Exec {id} has no terminal")));
        };
        let size = Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&*terminal, size).map_err(std::io::Error::from)?;
        Ok(())
    }
}
