//! Helpers for `#[serde(...)]` attributes.

use serde::{Deserializer, de};
use std::fmt;

/// For `skip_serializing_if`: Go's `omitempty` on a boolean.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
pub(crate) fn is_false(value: &bool) -> bool {
    !*value
}

/// For `skip_serializing_if`: Go's `omitempty` on a number.
pub(crate) fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// For `skip_serializing_if`: Go's `omitempty` on a slice or map that may be nil.
#[expect(clippy::ref_option, reason = "the signature serde asks for")]
pub(crate) fn is_empty<T: IsEmpty>(value: &Option<T>) -> bool {
    value.as_ref().is_none_or(IsEmpty::is_empty)
}

/// A container whose emptiness Go's `omitempty` looks at.
pub(crate) trait IsEmpty {
    /// Whether it holds nothing.
    fn is_empty(&self) -> bool;
}

impl<T> IsEmpty for Vec<T> {
    fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }
}

impl<K, V> IsEmpty for std::collections::BTreeMap<K, V> {
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Docker's `strslice.StrSlice`: an array of strings, or one string that means an array of one.
pub(crate) fn str_slice<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Vec<String>>, D::Error> {
    struct Visitor;

    impl<'de> de::Visitor<'de> for Visitor {
        type Value = Option<Vec<String>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("string")
        }

        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_str<E: de::Error>(self, v: &str) -> Result<Self::Value, E> {
            Ok(Some(vec![v.to_owned()]))
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut list = Vec::new();
            while let Some(item) = seq.next_element()? {
                list.push(item);
            }
            Ok(Some(list))
        }
    }

    d.deserialize_any(Visitor)
}
