//! Names of tables, tied to the type of their values.

use std::{fmt, marker::PhantomData};

/// A table of `T` values under string keys; a constant of the room that owns the data.
pub struct Table<T> {
    name: &'static str,
    values: PhantomData<fn() -> T>,
}

impl<T> Table<T> {
    /// The table called `name`. Names beginning with `gantry.` belong to this crate.
    pub const fn new(name: &'static str) -> Self {
        Self { name, values: PhantomData }
    }

    /// The name in the file.
    pub const fn name(self) -> &'static str {
        self.name
    }
}

// Derives would ask the same of `T`.
impl<T> Clone for Table<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Table<T> {}

impl<T> fmt::Debug for Table<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({})", self.name)
    }
}
